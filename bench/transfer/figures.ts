/** What was measured, held to what was promised (docs of the goals: bench/README.md). Pure. */
import { type Figure, median, rounded } from "../bench.ts";
import type { Cost } from "./measure.ts";
import type { PairCosts } from "./round.ts";

export const GOALS = {
  /** Bytes by rsync -az's. */
  bytes: 0.3,
  bytesMedian: 0.05,
  /** Bytes by the better of rsync and packs, where nothing is alike. */
  unlike: 1.02,
  first: 1.05,
  wall: 1,
  wallOfExecutables: 1.5,
  /** Where one file of a hundred changed, by unpacking all. */
  wallOfPercent: 0.2,
  /** CPU seconds of the sender for each receiver, by rsync -az's. */
  serving: 0.05,
  /** Bytes that leave the sender for ten receivers, by those for one. */
  many: 1.5,
  manySimulated: 2,
  limitOff: 0.1,
  unchangedBytes: 4096,
  unchangedRequests: 3,
  receiverMib: 128,
  publisherMib: 384,
} as const;

const RSYNC = "rsync -az";
const GIT = "git fetch";
const ARCHIVE = "tar.zst";

interface Compared {
  readonly name: string;
  readonly ours: number;
  readonly peer: number;
  readonly peerName: string;
  /** Most that the ratio may be; absent: it is only shown. */
  readonly most?: number;
}

export function compared({ name, ours, peer, peerName, most }: Compared): Figure {
  const ratio = ours / peer;
  return {
    bench: "transfer",
    case: name,
    ours: rounded(ours),
    peer: rounded(peer),
    peer_name: peerName,
    ratio: rounded(ratio),
    goal: most === undefined ? "shown only" : `ratio <= ${most}`,
    met: most === undefined || ratio <= most,
  };
}

export function limited(name: string, ours: number, most: number): Figure {
  return {
    bench: "transfer",
    case: name,
    ours: rounded(ours),
    peer: null,
    peer_name: "limit",
    ratio: null,
    goal: `ours <= ${most}`,
    met: ours <= most,
  };
}

/** @param packs bytes of the new tree to a machine that had nothing, where nothing is alike */
export function pairFigures(costs: PairCosts, packs: number | undefined): Figure[] {
  const { pair, ours, peers, receivers } = costs;
  const name = `${pair.name} (${pair.about})${receivers === 1 ? "" : `, ${receivers} receivers`}`;
  const rsync = peers.get(RSYNC);
  if (rsync === undefined) throw new Error("rsync takes part in every pair");
  const figures: Figure[] = [];
  const add = (what: string, key: keyof Cost, peer: Cost, peerName: string, most?: number): void => {
    const figure = { name: `${name}: ${what}`, ours: ours[key], peer: peer[key], peerName };
    figures.push(compared(most === undefined ? figure : { ...figure, most }));
  };
  if (packs === undefined) add("bytes", "bytes", rsync, RSYNC, GOALS.bytes);
  else {
    const peer = Math.min(rsync.bytes, packs);
    const peerName = `the better of ${RSYNC} and packs`;
    figures.push(compared({ name: `${name}: bytes`, ours: ours.bytes, peer, peerName, most: GOALS.unlike }));
  }
  const git = peers.get(GIT);
  if (git !== undefined && packs === undefined) {
    const peerName = `the better of ${GIT} and ${RSYNC}`;
    const peer = Math.min(git.bytes, rsync.bytes);
    figures.push(compared({ name: `${name}: bytes`, ours: ours.bytes, peer, peerName, most: 1 }));
  }
  for (const [peerName, cost] of peers) {
    if (peerName !== RSYNC) add("bytes", "bytes", cost, peerName);
  }
  add("wall ms", "wallMs", rsync, RSYNC, pair.executable ? GOALS.wallOfExecutables : GOALS.wall);
  add("wall ms with what the operator looks up", "askedMs", rsync, RSYNC);
  for (const [peerName, cost] of peers) {
    if (peerName !== RSYNC && peerName !== GIT) continue;
    if (peerName !== RSYNC) add("wall ms", "wallMs", cost, peerName);
    add("CPU s, sender", "senderCpu", cost, peerName);
    add("CPU s, receivers", "receiverCpu", cost, peerName);
  }
  figures.push(shown(`${name}: CPU s, receivers, for the next update while they idle`, costs.settleCpu));
  return figures;
}

/** No peer has anything like it, and nothing was promised. */
export function shown(name: string, ours: number): Figure {
  const nothing = { peer: null, peer_name: "none", ratio: null, goal: "shown only", met: true } as const;
  return { bench: "transfer", case: name, ours: rounded(ours), ...nothing };
}

export function firstCopyFigure({ pair, first, peers }: PairCosts): Figure {
  const peer = peers.get(ARCHIVE)?.bytes ?? Number.NaN;
  const name = `first copy of the tree of ${pair.name}: bytes`;
  return compared({ name, ours: first.bytes, peer, peerName: `${ARCHIVE} -3`, most: GOALS.first });
}

/** Over all pairs in which something is alike. */
export function medianFigure(all: readonly PairCosts[]): Figure {
  const alike = all.filter(({ pair }) => !pair.unlike);
  const ratios = alike.map(({ ours, peers }) => ours.bytes / (peers.get(RSYNC)?.bytes ?? Number.NaN));
  return limited("median over the pairs of bytes by rsync -az's", median(ratios), GOALS.bytesMedian);
}

/** A smaller update is mostly what each node is told by itself, and nodes do not ask each other for it. */
const SHARED_BYTES = 65_536;

/** Many receivers at once: what the sender does for each, and what leaves it. */
export function manyFigures(many: PairCosts, one: PairCosts): Figure[] {
  const { pair, receivers, ours, first, peers } = many;
  const name = `${pair.name}, ${receivers} receivers`;
  const cpu = peers.get(RSYNC)?.senderCpu ?? Number.NaN;
  const serving = (what: string, seconds: number, most?: number): Figure => {
    const figure = { name: `${name}: CPU s, sender, ${what}`, ours: seconds, peer: cpu / receivers };
    return compared({ ...figure, peerName: RSYNC, ...(most === undefined ? {} : { most }) });
  };
  return [
    serving("for each", ours.senderCpu / receivers, GOALS.serving),
    serving("for each, with what the operator looks up", ours.askedCpu / receivers),
    serving("for each further one", (ours.senderCpu - one.ours.senderCpu) / (receivers - 1)),
    egress(`${name}: bytes from the sender`, ours, one.ours),
    egress(`${name}: first copy, bytes from the sender`, first, one.first),
  ];
}

function egress(name: string, many: Cost, one: Cost): Figure {
  const figure = { name, ours: many.sent, peer: one.sent, peerName: "ours with one receiver" };
  return compared(one.sent < SHARED_BYTES ? figure : { ...figure, most: GOALS.many });
}
