import path from "node:path";
import { freePort } from "../src/lib/free-port.fixture.ts";
import { type AgentProcess, type Cluster, startCluster } from "../test/support/cluster.ts";
import { type SourceRepo, sourceRepo } from "../test/support/repo.ts";
import { alternately, type Bench, type Figure, rounded } from "./bench.ts";
import { type PropagitCluster, startPropagit } from "./peers/propagit.ts";
import { builtPackage } from "./support/built.ts";
import { currentMoves, firstAnswer } from "./support/first-answer.ts";
import { serviceFiles } from "./support/service.ts";

const GOAL = 0.5;
/** Both sides start cold caches, the hub's repository and the first version outside of what is measured. */
const WARM_UPS = 1;

/**
 * From the start of `git push` over `deploy` by commit to the first 200 of the new version on both of two nodes, in
 * ms: a hub and two nodes on loopback, a service of one file that answers with its commit.
 */
export const bench: Bench = async function* ({ quick, signal }) {
  const program = await builtPackage(signal);
  await using cluster = await startCluster({ signal, program });
  const ours = await oursReady(cluster);
  await using peer = await startPropagit(signal);
  for (let i = 0; i < WARM_UPS; i++) {
    await ours();
    await peer.deployNext("typed");
  }
  const rounds = quick ? 5 : 11;
  yield await figure("push, deploy (and propagit's spawn) as typed", rounds, ours, peer, "typed", signal);
  yield await figure(
    "the same, propagit's spawn over a standing connection",
    rounds,
    ours,
    peer,
    "standing",
    signal,
  );
};

async function figure(
  name: string,
  rounds: number,
  ours: () => Promise<number>,
  peer: PropagitCluster,
  spawnBy: "typed" | "standing",
  signal: AbortSignal,
): Promise<Figure> {
  const theirs = async (): Promise<number> => (await peer.deployNext(spawnBy)).bothAnswer;
  const ms = await alternately(rounds, signal, ours, theirs);
  const ratio = ms.ours / ms.peer;
  return {
    bench: "deploy",
    case: `ms from git push to 200 on two nodes: ${name}`,
    ours: rounded(ms.ours),
    peer: rounded(ms.peer),
    peer_name: "propagit 0.6.4, seaport 2.0.9",
    ratio: rounded(ratio),
    goal: `ratio <= ${GOAL}`,
    met: ratio <= GOAL,
  };
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
  await currentMoves(node.home, "web", signal);
  await firstAnswer(node.address, port, commit, signal);
}
