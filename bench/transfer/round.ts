/** One pair: ours and each peer by turns. */
import { execFile } from "node:child_process";
import fs from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { median } from "../bench.ts";
import { type Cost, costOf, timed, written } from "./measure.ts";
import type { Ours } from "./ours.ts";
import type { Pair } from "./pairs.ts";
import type { Field, Peer, Served } from "./peer.ts";

const exec = promisify(execFile);

export interface PairCosts {
  readonly pair: Pair;
  readonly receivers: number;
  /** The update. */
  readonly ours: Cost;
  /** Ours, the old tree to machines that had nothing. */
  readonly first: Cost;
  /** CPU seconds of what our receivers do by themselves between the two. */
  readonly settleCpu: number;
  /** By name. */
  readonly peers: ReadonlyMap<string, Cost>;
  /** The most memory of one of our receivers, in MiB: in the first copy, and from then on until the update is there. */
  readonly peaks: { readonly first: number; readonly update: number };
  /** The most memory of whoever publishes, the hub, and what makes deltas for it. */
  readonly publisherMib: number;
}

export interface RoundsOptions {
  readonly receivers: number;
  readonly rounds: number;
  /** The first of them takes part in every round, the others in the first one only. */
  readonly peers: readonly Peer[];
}

/** Every transfer is checked: what arrived is the new tree. */
export async function costsOf(
  pair: Pair,
  ours: Ours,
  field: Field,
  { receivers, rounds, peers }: RoundsOptions,
): Promise<PairCosts> {
  const costs = { ours: [] as Cost[], first: [] as Cost[] };
  const settling: number[] = [];
  const theirs = new Map<string, Cost[]>(peers.map(({ name }) => [name, []]));
  const peaks = { first: 0, update: 0 };
  const old = await ours.publish(pair.name, pair.old);
  const fresh = await ours.publish(pair.name, pair.new);
  for (let round = 0; round < rounds; round++) {
    field.signal.throwIfAborted();
    await using nodes = await ours.receivers(receivers);
    costs.first.push(await nodes.receive(old));
    peaks.first = Math.max(peaks.first, nodes.peakMib());
    nodes.forgetPeak();
    // As between two deployments: what a node prepares for the next one is there.
    settling.push(await nodes.settled());
    costs.ours.push(await nodes.receive(fresh));
    peaks.update = Math.max(peaks.update, nodes.peakMib());
    await same(nodes.tree(pair.name), pair.new, field.signal);
    for (const peer of round === 0 ? peers : peers.slice(0, 1)) {
      theirs.get(peer.name)?.push(await peerCost(peer, pair, field, receivers));
    }
  }
  return {
    pair,
    receivers,
    ours: middle(costs.ours),
    first: middle(costs.first),
    settleCpu: median(settling),
    peers: new Map([...theirs].map(([name, list]) => [name, middle(list)])),
    peaks,
    publisherMib: Math.max(old.peakMib, fresh.peakMib),
  };
}

async function peerCost(peer: Peer, pair: Pair, field: Field, receivers: number): Promise<Cost> {
  const dir = await fs.mkdtemp(path.join(field.dir, "peer-"));
  const served = await peer.serve(pair, { ...field, dir });
  try {
    const homes = Array.from({ length: receivers }, (_, n) => path.join(dir, `receiver-${n}`));
    for (const home of homes) {
      await fs.mkdir(home);
      await served.ready(home);
    }
    await written(dir, field.signal);
    const cost = await costOf(field.wire, { sender: served.sender, receiver: [] }, async () => {
      const cpu = await Promise.all(homes.map((home) => received(served, home, field)));
      return { receiverCpu: cpu.reduce((sum, one) => sum + one, 0) };
    });
    for (const home of homes) await same(path.join(home, "tree"), pair.new, field.signal);
    return cost;
  } finally {
    await served.stop();
    await fs.rm(dir, { recursive: true, force: true });
  }
}

/** Ours is on the disk when it says so; so are the others. */
async function received(served: Served, home: string, { wire, signal }: Field): Promise<number> {
  return await timed(wire.within, home, `(${served.receive}); sync -f tree`, signal);
}

async function same(tree: string, wanted: string, signal: AbortSignal): Promise<void> {
  const options = { signal, maxBuffer: 1 << 24 };
  await exec("diff", ["-r", "-q", "--no-dereference", "-x", ".git", `${tree}/`, wanted], options);
}

function middle(costs: readonly Cost[]): Cost {
  const of = (key: keyof Cost): number => median(costs.map((cost) => cost[key]));
  return {
    bytes: of("bytes"),
    sent: of("sent"),
    wallMs: of("wallMs"),
    askedMs: of("askedMs"),
    senderCpu: of("senderCpu"),
    askedCpu: of("askedCpu"),
    receiverCpu: of("receiverCpu"),
  };
}
