import { setTimeout as sleep } from "node:timers/promises";
import { type Cluster, startCluster } from "../test/support/cluster.ts";
import { residentMib } from "../test/support/processes.ts";
import { type Bench, type Figure, median, rounded } from "./bench.ts";
import { builtPackage } from "./support/built.ts";
import { simulateNode } from "../test/support/simulated-node.ts";
import { cpuOf } from "./transfer/measure.ts";
import { writeSource } from "../test/support/apps.ts";

/** Each node costs a hub about the same, however many there are. */
const GOAL = 1.5;
const UPDATES = 3;
const JOIN_AT_ONCE = 8;
const MANIFEST = "app: shop\nkind: files\nstrategy: { type: all_at_once, bake: 0s }\n";

interface Cost {
  readonly updateMs: number;
  readonly idleMs: number;
  readonly residentMib: number;
}

/** What each node of a large fleet costs its hub, by what each of a small one does; the nodes are simulated. */
export const bench: Bench = async function* ({ quick, signal }) {
  const [few, many] = quick ? [10, 100] : [50, 1000];
  const program = await builtPackage(signal);
  const over = new AbortController();
  const alive = AbortSignal.any([signal, over.signal]);
  await using cluster = await startCluster({ signal, program });
  using ending = new DisposableStack();
  ending.defer(() => over.abort());
  await grow(cluster, { from: 0, to: few }, alive);
  // Each node polls anew every 30 s: a shorter look would see some of them.
  const idleMs = quick ? 0 : 60_000;
  const small = await costOf(cluster, few, idleMs);
  await grow(cluster, { from: few, to: many }, alive);
  const large = await costOf(cluster, many, idleMs);
  const perNode = { few, many };
  yield figure("ms of the hub's CPU for each node of an update", large.updateMs, small.updateMs, perNode);
  if (!quick)
    yield figure("ms of the hub's CPU in a minute for each idle node", large.idleMs, small.idleMs, perNode);
  yield {
    bench: "fleet",
    case: `MiB of the hub with ${many} nodes`,
    ours: rounded(large.residentMib),
    peer: rounded(small.residentMib),
    peer_name: `${few} nodes`,
    ratio: rounded(large.residentMib / small.residentMib),
    goal: "shown only",
    met: true,
  };
};

async function grow(
  cluster: Cluster,
  { from, to }: { readonly from: number; readonly to: number },
  alive: AbortSignal,
): Promise<void> {
  let next = from;
  const join = async (): Promise<void> => {
    while (next < to) await simulateNode(cluster, `n${++next}`, alive);
  };
  await Promise.all(Array.from({ length: JOIN_AT_ONCE }, join));
}

async function costOf(cluster: Cluster, nodes: number, idleMs: number): Promise<Cost> {
  const updates: number[] = [];
  for (let n = 0; n <= UPDATES; n++) {
    const dir = await writeSource(cluster, `shop-${nodes}-${n}`, {
      "skein.yaml": MANIFEST,
      "page.html": `${nodes} ${n}`,
    });
    await cluster.okIn(dir, "build");
    const before = hubMs(cluster);
    await cluster.okIn(dir, "deploy");
    // The first one is of an app that nobody has, or that only some have.
    if (n > 0) updates.push(hubMs(cluster) - before);
  }
  await sleep(idleMs / 2, undefined, { signal: cluster.signal });
  const before = hubMs(cluster);
  await sleep(idleMs, undefined, { signal: cluster.signal });
  return {
    updateMs: median(updates) / nodes,
    idleMs: ((hubMs(cluster) - before) * 60_000) / idleMs / nodes,
    residentMib: residentMib(cluster.hub.pid),
  };
}

const hubMs = ({ hub }: Cluster): number => cpuOf([hub.pid]) * 1000;

function figure(
  name: string,
  ours: number,
  peer: number,
  { few, many }: { readonly few: number; readonly many: number },
): Figure {
  const ratio = ours / peer;
  return {
    bench: "fleet",
    case: `${name} of ${many}`,
    ours: rounded(ours),
    peer: rounded(peer),
    peer_name: `of ${few}`,
    ratio: rounded(ratio),
    goal: `ratio <= ${GOAL}`,
    met: ratio <= GOAL,
  };
}
