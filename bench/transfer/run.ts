/** The cases, one after another. */
import type { Figure } from "../bench.ts";
import { casync } from "../peers/transfer-casync.ts";
import { git } from "../peers/transfer-git.ts";
import { rsync } from "../peers/transfer-rsync.ts";
import { patch, wholeArchive, zsync } from "../peers/transfer-tar.ts";
import { landing, largeRelease, rateLimit, simulated, unchanged } from "./cases.ts";
import { firstCopyFigure, GOALS, limited, manyFigures, medianFigure, pairFigures, shown } from "./figures.ts";
import { type Ours, startOurs } from "./ours.ts";
import type { Pair } from "./pairs.ts";
import type { Field, Peer } from "./peer.ts";
import { costsOf, type PairCosts } from "./round.ts";
import type { Work } from "./work.ts";

const MEASURED = rsync("-az");
const QUICK_PEERS: readonly Peer[] = [MEASURED, git, wholeArchive];
const PEERS: readonly Peer[] = [MEASURED, git, wholeArchive, rsync("-a"), casync, zsync, patch];
const ROUNDS = 3;
/** Trees that take minutes: one round each. */
const LARGE: readonly string[] = ["node", "sea", "next", "zod", "mtime", "one", "percent"];
const MANY = 10;
/** What ten receivers at once are tried with. */
const FOR_MANY: readonly string[] = ["nbuild", "node"];
/** The tree whose first copy counts, and the one in which one file of a hundred changed. */
const WEB = "one";
const PERCENT = "percent";

export async function* figuresOf(field: Field, { pairs, quick, extras }: Work): AsyncGenerator<Figure> {
  await using ours = await startOurs(field.wire, field.dir, field.signal);
  const peers = quick ? QUICK_PEERS : PEERS;
  const all: PairCosts[] = [];
  for (const pair of pairs) {
    const options = { receivers: 1, rounds: quick || LARGE.includes(pair.name) ? 1 : ROUNDS, peers };
    const costs = await costsOf(pair, ours, field, options);
    all.push(costs);
    yield* figuresOfPair(costs, ours);
  }
  if (all.some(({ pair }) => !pair.unlike)) yield medianFigure(all);
  const [small] = pairs;
  if (extras.includes("unchanged") && small !== undefined) yield* unchanged(small, ours);
  if (extras.includes("simulated")) yield simulated();
  if (extras.includes("many")) {
    for (const one of all.filter(({ pair }) => FOR_MANY.includes(pair.name))) {
      const rounds = LARGE.includes(one.pair.name) ? 1 : ROUNDS;
      const many = await costsOf(one.pair, ours, field, { receivers: MANY, rounds, peers });
      yield* pairFigures(many, undefined);
      yield* manyFigures(many, one);
    }
  }
  const packed = pairs.find(({ unlike }) => unlike);
  if (extras.includes("limit") && packed !== undefined) yield* rateLimit(packed, ours);
  if (extras.includes("large")) yield* largeRelease(ours, field);
}

async function* figuresOfPair(costs: PairCosts, ours: Ours): AsyncGenerator<Figure> {
  const { pair, peaks, publisherMib } = costs;
  yield* pairFigures(costs, pair.unlike ? await packsOf(pair, ours) : undefined);
  yield limited(`${pair.name}: receiver's peak memory, MiB`, peaks.update, GOALS.receiverMib);
  yield shown(`${pair.name}: the same of the first copy, MiB`, peaks.first);
  yield limited(`${pair.name}: publisher's and hub's peak memory, MiB`, publisherMib, GOALS.publisherMib);
  if (pair.name === WEB) yield* [firstCopyFigure(costs), landing(costs, "first", GOALS.wall)];
  if (pair.name === PERCENT) yield landing(costs, "update", GOALS.wallOfPercent);
}

/** Bytes of the new tree to a machine that has nothing of it: what packs alone cost. */
async function packsOf(pair: Pair, ours: Ours): Promise<number> {
  await using nodes = await ours.receivers(1);
  return (await nodes.receive(await ours.publish(pair.name, pair.new))).bytes;
}
