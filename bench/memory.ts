import { startCluster } from "../test/support/cluster.ts";
import { residentMib } from "../test/support/processes.ts";
import { type Bench, type Figure, median, rounded } from "./bench.ts";
import { bareNode } from "./peers/bare-node.ts";
import { builtPackage } from "./support/built.ts";

const HUB_MIB = 100;
const NODE_MIB = 130;
/** Long enough for what starting left behind to be collected, and for the agent's first reports. */
const SETTLE_MS = 5000;
const SAMPLES = 5;

/** Resident memory (VmRSS) of an idle hub with one node, and of that node's agent and keeper together, in MiB. */
export const bench: Bench = async function* ({ quick, signal }) {
  const program = await builtPackage(signal);
  await using cluster = await startCluster({ signal, program });
  const node = await cluster.addNode("a");
  await pause(quick ? SETTLE_MS : 6 * SETTLE_MS);
  const hub: number[] = [];
  const agentAndKeeper: number[] = [];
  const bare: number[] = [];
  const keeper = node.keeperPid();
  for (let i = 0; i < SAMPLES; i++) {
    signal.throwIfAborted();
    bare.push((await bareNode(1000, signal)).residentMib);
    hub.push(residentMib(cluster.hub.pid));
    agentAndKeeper.push(residentMib(node.pid) + residentMib(keeper));
  }
  const peer = median(bare);
  yield figure("MiB resident, idle hub", median(hub), peer, HUB_MIB);
  yield figure("MiB resident, idle agent and keeper together", median(agentAndKeeper), peer, NODE_MIB);
};

function figure(name: string, ours: number, peer: number, limit: number): Figure {
  return {
    bench: "memory",
    case: name,
    ours: rounded(ours),
    peer: rounded(peer),
    peer_name: "node server.js",
    ratio: rounded(ours / peer),
    goal: `ours <= ${limit} MiB`,
    met: ours <= limit,
  };
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
