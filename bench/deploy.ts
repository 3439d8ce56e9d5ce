import path from "node:path";
import { freePort } from "../src/lib/testing/free-port.fixture.ts";
import { type AgentProcess, type Cluster, startCluster } from "../test/support/cluster.ts";
import { type SourceRepo, sourceRepo } from "../test/support/repo.ts";
import { type Bench, type Figure, inTurns, rounded } from "./bench.ts";
import { startFloor } from "./peers/floor.ts";
import { startPropagit } from "./peers/propagit.ts";
import { builtPackage } from "./support/built.ts";
import { currentMoves, firstAnswer } from "./support/first-answer.ts";
import { serviceFiles } from "./support/service.ts";

const GOAL = 0.5;
/** All sides start cold caches, the hub's repository and the first version outside of what is measured. */
const WARM_UPS = 1;
const PROPAGIT = "propagit 0.6.4, seaport 2.0.9";

/**
 * From the start of `git push` over `deploy` by commit to the first 200 of the new version on both of two nodes, in
 * ms: a hub and two nodes on loopback, a service of one file that answers with its commit. Beside the peer stands what
 * is the least that any tool with the same promises has to do (`peers/floor.ts`).
 */
export const bench: Bench = async function* ({ quick, signal }) {
  const program = await builtPackage(signal);
  await using cluster = await startCluster({ signal, program });
  const ours = await oursReady(cluster);
  await using peer = await startPropagit(signal);
  await using floor = await startFloor(signal);
  for (let i = 0; i < WARM_UPS; i++) {
    await ours();
    await peer.deployNext("typed");
    await floor.deployNext();
  }
  const rounds = quick ? 5 : 11;
  const measure = async (spawnBy: "typed" | "standing"): Promise<Times> =>
    await inTurns(rounds, signal, {
      ours,
      peer: async () => (await peer.deployNext(spawnBy)).bothAnswer,
      floor: async () => await floor.deployNext(),
    });
  yield* figures("push, deploy (and propagit's spawn) as typed", await measure("typed"));
  yield* figures("the same, propagit's spawn over a standing connection", await measure("standing"));
};

type Times = Readonly<Record<"ours" | "peer" | "floor", number>>;

function* figures(name: string, { ours, peer, floor }: Times): Generator<Figure> {
  const goal = `ratio <= ${GOAL}`;
  const figure = (what: string, ms: number, by: number, peer_name: string): Figure => ({
    bench: "deploy",
    case: `ms from git push to 200 on two nodes: ${what}`,
    ours: rounded(ms),
    peer: rounded(by),
    peer_name,
    ratio: rounded(ms / by),
    goal: "none: a measure",
    met: true,
  });
  yield { ...figure(name, ours, peer, PROPAGIT), goal, met: ours / peer <= GOAL };
  yield figure(`the least that can be done, ${name}`, floor, peer, PROPAGIT);
  yield figure(`ours by that`, ours, floor, "the least that can be done");
}

/** @returns one deployment of the next version: how many ms it took */
async function oursReady(cluster: Cluster): Promise<() => Promise<number>> {
  const nodes = [await cluster.addNode("a"), await cluster.addNode("b")];
  const repo = await sourceRepo(path.join(cluster.dir, "source"));
  const port = await freePort();
  return async () => await deployNext(cluster, nodes, repo, port);
}

async function deployNext(
  cluster: Cluster,
  nodes: readonly AgentProcess[],
  repo: SourceRepo,
  port: number,
): Promise<number> {
  const commit = await repo.commit(serviceFiles(port));
  const answers = nodes.map(async (node) => await answersNext(cluster, node, port, commit));
  const begin = performance.now();
  await cluster.okGit(repo.dir, "push", "-q", cluster.gitUrl("web"), "master");
  const deployed = cluster.okIn(repo.dir, "deploy", "web", commit);
  await Promise.all(answers);
  const ms = performance.now() - begin;
  await deployed; // the next round begins when this one is settled
  return ms;
}

async function answersNext(
  { signal }: Cluster,
  node: AgentProcess,
  port: number,
  commit: string,
): Promise<void> {
  await currentMoves(path.join(node.home, "lib/apps/web"), signal);
  await firstAnswer(node.address, port, commit, signal);
}
