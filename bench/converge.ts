import path from "node:path";
import { freePort } from "../src/lib/testing/free-port.fixture.ts";
import { firstAnswer } from "../test/support/answers.ts";
import { type AgentProcess, type Cluster, startCluster } from "../test/support/cluster.ts";
import { sourceRepo } from "../test/support/repo.ts";
import { alternately, type Bench, rounded } from "./bench.ts";
import { bareNode } from "./peers/bare-node.ts";
import { builtPackage } from "./support/built.ts";
import { serviceFiles } from "./support/service.ts";

const GOAL_MS = 2000;

/**
 * A node whose power was cut before a deployment and comes back after it: ms from the start of its agent (which starts
 * the keeper) to the first 200 of the version that it has never seen. Another node keeps the deployment from waiting.
 */
export const bench: Bench = async function* ({ quick, signal }) {
  const program = await builtPackage(signal);
  await using cluster = await startCluster({ signal, program });
  await cluster.addNode("stays");
  const node = await cluster.addNode("goes");
  const comesBack = await ready(cluster, node);
  const ours = async (): Promise<number> => await comesBack();
  const peer = async (): Promise<number> => (await bareNode(0, signal)).answeredMs;
  const ms = await alternately(quick ? 3 : 9, signal, ours, peer);
  yield {
    bench: "converge",
    case: "ms from agent start to 200 of what was deployed meanwhile",
    ours: rounded(ms.ours),
    peer: rounded(ms.peer),
    peer_name: "node server.js to its first 200",
    ratio: rounded(ms.ours / ms.peer),
    goal: `ours < ${GOAL_MS} ms`,
    met: ms.ours < GOAL_MS,
  };
};

async function ready(cluster: Cluster, node: AgentProcess): Promise<() => Promise<number>> {
  const repo = await sourceRepo(path.join(cluster.dir, "source"));
  const port = await freePort();
  const deployNext = async (): Promise<string> => {
    const commit = await repo.commit(serviceFiles(port));
    await cluster.okIn(repo.dir, "deploy", "web", commit);
    return commit;
  };
  await deployNext();
  return async () => {
    await node.powerOff();
    await cluster.absent(node.name);
    const commit = await deployNext();
    const begin = performance.now();
    // Readiness of the agent itself is no concern here: what counts is that the app answers.
    const started = node.start();
    await firstAnswer(`http://${node.address}:${port}/`, commit, cluster.signal);
    const ms = performance.now() - begin;
    await started;
    await cluster.present(node.name);
    return ms;
  };
}
