import { collectAfter } from "../../lib/memory/collect.ts";
import { digestOf, type Digest } from "../../lib/text/ids.ts";
import { arriveByDelta, type ArriveOptions } from "../delta/arrive.ts";
import type { Fetcher } from "../fetch/fetcher.ts";
import { PackMap } from "../fetch/pack-map.ts";
import type { RecordFile } from "../record/record-file.ts";
import type { PublishedTree } from "../tree/published.ts";
import type { ReleaseIndex } from "../tree/release-index.ts";
import { rereadRows, treeIdOf } from "../tree/rows.ts";
import { encodeRoot } from "../tree/segments.ts";
import { encodeSince } from "../tree/since.ts";
import { loadTimes, loadTree, packsElsewhere, readIndex, type LoadedTree } from "../fetch/tree-blobs.ts";

export interface ReachOptions extends Omit<ArriveOptions, "from"> {
  /** Of earlier installs, the latest first; open. */
  readonly records: readonly RecordFile[];
  /** Whether a depot makes deltas that it is asked for. */
  readonly mayAsk: boolean;
}

/** Contents that came along: digest → absolute path of a file that may be moved away. */
export type FreshContents = ReadonlyMap<Digest, string>;

/** A tree whose rows and times are proved, and where its contents are. */
export interface ReachedTree extends LoadedTree {
  readonly fresh: FreshContents;
  /** Bytes of the contents that came along which were read from earlier installs. */
  readonly reused: number;
}

const NOTHING: Pick<ReachedTree, "fresh" | "reused"> = { fresh: new Map(), reused: 0 };

/**
 * Finds out what a tree is, the cheapest way: it is here under another release; a delta leads to it from one that is
 * here; or its rows are read.
 * @throws SkeinError as `loadTree`
 */
export async function reachTree(fetcher: Fetcher, options: ReachOptions): Promise<ReachedTree> {
  const { wanted, records } = options;
  const same = records.find(({ tree }) => tree === wanted.tree);
  const here = same === undefined ? undefined : await sameTree(fetcher, wanted, same);
  if (here !== undefined) return { ...here, ...NOTHING };
  const index = lazy(async () => await fetcher.try((depot) => readIndex(depot, wanted.tree, fetcher.signal)));
  const packs = new PackMap(fetcher, async () => (await index()).packs, packsElsewhere(fetcher, wanted.tree));
  for await (const from of leads(index, options)) {
    const arrived = await arriveByDelta(fetcher, { ...options, from });
    if (arrived !== undefined) return { ...arrived, packs };
  }
  const have = (id: Digest): Buffer | undefined => segmentOf(records, id);
  const loaded = await loadTree(fetcher, wanted, { have, packs });
  // A first install does it while another thread makes its folders.
  if (records.length > 0) collectAfter(loaded.rows.length);
  return { ...loaded, ...NOTHING };
}

/** Calls `make` once, when the first one asks. */
function lazy<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return async () => await (made ??= make());
}

/** The tree as an install has it, when that is the one that was signed. */
async function sameTree(
  fetcher: Fetcher,
  wanted: PublishedTree,
  record: RecordFile,
): Promise<LoadedTree | undefined> {
  const { segments } = record;
  if (digestOf(encodeRoot(segments)) !== wanted.rows) return undefined;
  const pieces = segments.map(({ id }) => record.segment(id) ?? Buffer.alloc(0));
  if (treeIdOf(pieces) !== wanted.tree) return undefined;
  const decoded = pieces.map((bytes) => rereadRows(bytes));
  const rows = decoded.flat();
  const times = record.times();
  const isSame = wanted.since !== null && digestOf(encodeSince(times)) === wanted.since;
  // Only an old file that was tampered with makes its packs be asked for.
  const index = async (): Promise<readonly Digest[]> =>
    (await fetcher.try(async (depot) => await readIndex(depot, wanted.tree, fetcher.signal))).packs;
  return {
    rows,
    segments: segments.map((segment, n) => ({ ...segment, rows: decoded[n]?.length ?? 0 })),
    times: isSame ? times : await loadTimes(fetcher, wanted, rows),
    packs: new PackMap(fetcher, index, packsElsewhere(fetcher, wanted.tree)),
  };
}

/**
 * Installs to come from, the likeliest first. Whoever makes deltas is asked for the one from the latest at once, without
 * a look at the index: that is one request for all. Else the index tells which delta is the smallest.
 */
async function* leads(
  index: () => Promise<ReleaseIndex>,
  { records, mayAsk }: ReachOptions,
): AsyncGenerator<RecordFile, void> {
  const [latest] = records;
  if (latest === undefined) return;
  if (mayAsk) yield latest;
  const best = smallestDelta(await index(), mayAsk ? records.slice(1) : records);
  if (best !== undefined) yield best.record;
}

/** The smallest delta that is listed and leads to a tree from one of these installs. */
export function smallestDelta(
  { deltas }: ReleaseIndex,
  records: readonly RecordFile[],
): { readonly record: RecordFile; readonly bytes: number } | undefined {
  const listed = records.flatMap((record) => {
    const ref = deltas.find(({ from, bytes }) => from === record.tree && bytes > 0);
    return ref === undefined ? [] : [{ record, bytes: ref.bytes }];
  });
  return listed.sort((a, b) => a.bytes - b.bytes)[0];
}

/** Rows need not be fetched when an earlier release has the same. */
export function segmentOf(records: readonly RecordFile[], id: Digest): Buffer | undefined {
  for (const record of records) {
    const bytes = record.segment(id);
    if (bytes !== undefined) return bytes;
  }
  return undefined;
}
