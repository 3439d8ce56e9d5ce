/** The cases, one after another. */
import type { Figure } from "../bench.ts";
import { casync } from "../peers/transfer-casync.ts";
import { git } from "../peers/transfer-git.ts";
import { rsync } from "../peers/transfer-rsync.ts";
import { patch, wholeArchive, zsync } from "../peers/transfer-tar.ts";
import { firstCopyFigure, GOALS, limited, manyFigures, medianFigure, pairFigures } from "./figures.ts";
import { type Ours, startOurs } from "./ours.ts";
import type { Pair } from "./pairs.ts";
import type { Field, Peer } from "./peer.ts";
import { costsOf, type PairCosts } from "./round.ts";

const MEASURED = rsync("-az");
const QUICK_PEERS: readonly Peer[] = [MEASURED, git, wholeArchive];
export const PEERS: readonly Peer[] = [MEASURED, git, wholeArchive, rsync("-a"), casync, zsync, patch];
const ROUNDS = 3;
const MANY = 10;
/** What ten receivers at once are tried with. */
const FOR_MANY: readonly string[] = ["nbuild", "node"];
/** The tree whose first copy counts, and the one that nothing changes in. */
const WEB = "one";

export async function* figuresOf(
  field: Field,
  pairs: readonly Pair[],
  quick: boolean,
): AsyncGenerator<Figure> {
  await using ours = await startOurs(field.wire, field.dir, field.signal);
  const peers = quick ? QUICK_PEERS : PEERS;
  const all: PairCosts[] = [];
  for (const pair of pairs) {
    const options = { receivers: 1, rounds: quick ? 1 : ROUNDS, peers };
    const costs = await costsOf(pair, ours, field, options);
    all.push(costs);
    yield* pairFigures(costs, pair.unlike ? await packsOf(pair, ours) : undefined);
    if (pair.name === WEB) yield firstCopyFigure(costs);
    yield limited(`${pair.name}: receiver's peak memory, MiB`, costs.peakMib, GOALS.receiverMib);
  }
  yield medianFigure(all);
  const [small] = pairs;
  if (small !== undefined) yield* unchanged(small, ours);
  for (const one of all.filter(({ pair }) => FOR_MANY.includes(pair.name))) {
    const many = await costsOf(one.pair, ours, field, { receivers: MANY, rounds: 1, peers: [MEASURED] });
    yield* pairFigures(many, undefined);
    yield* manyFigures(many, one);
  }
}

/** Bytes of the new tree to a machine that has nothing of it: what packs alone cost. */
async function packsOf(pair: Pair, ours: Ours): Promise<number> {
  await using nodes = await ours.receivers(1);
  return (await nodes.receive(await ours.publish(pair.name, pair.new))).bytes;
}

/** The release that runs is ordered again. */
async function* unchanged(pair: Pair, ours: Ours): AsyncGenerator<Figure> {
  const fresh = await ours.publish(pair.name, pair.new);
  await using nodes = await ours.receivers(1);
  await nodes.receive(fresh);
  const before = (await ours.requests()).length;
  const cost = await nodes.receive(fresh);
  const requests = (await ours.requests()).length - before;
  yield limited("nothing changed: bytes", cost.bytes, GOALS.unchangedBytes);
  yield limited("nothing changed: requests", requests, GOALS.unchangedRequests);
}
