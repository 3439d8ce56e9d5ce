import path from "node:path";
import type { Digest, TreeId } from "../../lib/text/ids.ts";
import { keepNewestFiles, type FolderBound } from "../../lib/disk/newest-files.ts";
import { MAX_HEADS } from "./catalogue.ts";
import { allEnded } from "../../lib/async/all-ended.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import type { Depot } from "../../depot/seam/depot.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";
import { arrange } from "../tree/arrange.ts";
import { bytesBlob, getCompressed, putCompressed } from "../fetch/blobs.ts";
import { cutAndStore, toRow, type StoredTree } from "./cut-and-store.ts";
import { Fetcher } from "../fetch/fetcher.ts";
import { leadsIn, type CutRows, type Leads } from "./leads.ts";
import { packName, type ChunkRef } from "../tree/pack.ts";
import { encodeIndex, indexName } from "../tree/release-index.ts";
import { isFileRow, type FileRow, type Row } from "../tree/rows.ts";
import { encodeRoot, outlineOf } from "../tree/segments.ts";
import { decodeSince, encodeSince } from "../tree/since.ts";
import type { PublishedTree, PublishProgress } from "../tree/published.ts";
import { openStatCache, type Recollection } from "./stat-cache.ts";
import { isUnreadable, loadTree, TABLE_BYTES } from "../fetch/tree-blobs.ts";
import { isSourceFile, type SourceEntry, type TreeSource } from "../tree/tree-source.ts";

export interface PublishOptions {
  readonly source: TreeSource;
  readonly depot: Depot;
  /** The app's release before this one: its contents keep their times, and its packs are looked at first. */
  readonly previous: PublishedTree | null;
  /** The release time of contents that are new, in ms since the epoch. */
  readonly now: number;
  /** A folder of the user's own for what makes the next time quicker; null: nothing is kept. */
  readonly cacheDir: string | null;
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: PublishProgress) => void;
}

export interface Published extends PublishedTree {
  readonly since: Digest;
  /** Regular files in the tree. */
  readonly files: number;
  /** Sum of their sizes. */
  readonly bytes: number;
  readonly newChunks: number;
  /** Inflated bytes that the depot lacked. */
  readonly newBytes: number;
  /** Bytes of the packs that were stored. */
  readonly storedBytes: number;
  /** Files whose content was read; the others were known by the stat cache. */
  readonly filesRead: number;
  /** What the source left out, as sentences. */
  readonly notes: readonly string[];
}

/** Collections come hours apart: once more is enough. */
const TRIES = 3;

/**
 * Cuts a source into chunks, stores what the depot lacks, and returns what a release document says of the tree.
 * The index is written last; until then the depot holds nothing that anyone would look for, and a publish that broke
 * off goes on with the packs it had stored.
 * @throws SkeinError TREE_REFUSED, ARCHIVE_REFUSED, IO; whatever the depot throws
 */
export async function publish(options: PublishOptions): Promise<Published> {
  for (let tries = 1; ; tries++) {
    const { published, isWhole } = await publishOnce(options);
    // A collection may take a pack out of use just when it was found there: then its chunks are stored again.
    if (isWhole || tries >= TRIES) return published;
  }
}

/** Whether what the tree shares with others is still there; what was stored just now is not asked for. */
async function isWhole(
  { packs = [], writer }: StoredTree,
  { depot, signal }: PublishOptions,
): Promise<boolean> {
  const own = new Set(writer?.stored);
  const shared = packs.filter((pack) => !own.has(pack)).map(packName);
  return shared.length === 0 || (await depot.has(shared, signal)).size === shared.length;
}

async function publishOnce(
  options: PublishOptions,
): Promise<{ readonly published: Published; readonly isWhole: boolean }> {
  const { source, depot, signal } = options;
  const listed = Date.now();
  const entries = arrange(await source.entries(signal));
  const cache = openStatCache(options.cacheDir, source.cacheKey, listed);
  const leads = leadsIn(depot, options.cacheDir, source.cacheKey, signal);
  const done = await publishEntries(entries, await cache.recall(entries, signal), leads, options);
  const { rows, tree, segments, lists, writer, filesRead } = done;
  const files = rows.filter(isFileRow);
  faultPoint("publish.rows");
  const rowsId = await putCompressed(depot, "rows", encodeRoot(segments), signal);
  const sinceId = await storeTimes(files, tree, options);
  let whole = true;
  if (done.packs !== undefined) {
    faultPoint("publish.index");
    const index = bytesBlob(encodeIndex({ packs: done.packs, deltas: [] }));
    [whole] = await allEnded([isWhole(done, options), depot.put(indexName(tree), index, signal)]);
  }
  faultPoint("publish.indexed");
  if (done.packs !== undefined && whole) await leads.note(tree, done.packs);
  await cache.save({ entries, rows, lists });
  await tidyCache(options.cacheDir);
  const published = {
    tree,
    rows: rowsId,
    since: sinceId,
    files: files.length,
    bytes: files.reduce((sum, row) => sum + row.size, 0),
    newChunks: writer?.newChunks ?? 0,
    newBytes: writer?.newBytes ?? 0,
    storedBytes: writer?.storedBytes ?? 0,
    filesRead,
    notes: source.notes,
  };
  return { published, isWhole: whole };
}

/**
 * What is remembered of packs, and of each source: a build machine has a folder of its own for each checkout. More heads
 * than are read at once, since others go through the same folder.
 */
const CACHED: Readonly<Record<string, FolderBound>> = {
  heads: { files: 2 * MAX_HEADS, bytes: Infinity },
  stat: { files: 64, bytes: 256 * 1024 * 1024 },
  led: { files: 1024, bytes: Infinity },
};

async function tidyCache(dir: string | null): Promise<void> {
  if (dir === null) return;
  for (const [folder, most] of Object.entries(CACHED)) await keepNewestFiles(path.join(dir, folder), most);
}

/** Contents of the release before keep their times; others get this release's. The same tree has the same times. */
async function storeTimes(files: readonly FileRow[], tree: TreeId, options: PublishOptions): Promise<Digest> {
  const { previous, depot, signal } = options;
  if (previous?.tree === tree && previous.since !== null) {
    const before = await timesAgain(depot, previous.since, files.length, signal);
    if (before !== undefined) return await putCompressed(depot, "since", before, signal);
  }
  return await putCompressed(depot, "since", encodeSince(await timesOf(files, options)), signal);
}

/** The table as it was, where it can still be read: what lies in the depot may be damaged, and is put there again. */
async function timesAgain(
  depot: Depot,
  since: Digest,
  files: number,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  try {
    const table = await getCompressed(depot, "since", since, TABLE_BYTES, signal);
    decodeSince(table, files);
    return table;
  } catch (err) {
    if (isSkeinError(err, "BLOB_MISSING", "TREE_CORRUPT", "PACK_CORRUPT")) return undefined;
    throw err;
  }
}

async function timesOf(files: readonly FileRow[], options: PublishOptions): Promise<number[]> {
  const { previous, depot, signal, now } = options;
  if (previous === null) return files.map(() => now);
  const before = await loadTree(new Fetcher([depot], signal), previous).catch((err: unknown) => {
    if (isUnreadable(err)) return undefined;
    throw err;
  });
  const times = new Map<Digest, number>();
  if (before !== undefined) {
    const rows = before.rows.filter(isFileRow);
    for (const [i, row] of rows.entries()) times.set(row.sha256, before.times[i] ?? now);
  }
  return files.map((row) => times.get(row.sha256) ?? now);
}

async function publishEntries(
  entries: readonly SourceEntry[],
  recalled: Recollection,
  leads: Leads,
  options: PublishOptions,
): Promise<StoredTree> {
  const known = knownRows(entries, recalled);
  if (known !== undefined && (await leads.isPublished(known)))
    return { ...known, filesRead: 0, writer: undefined, packs: undefined };
  return await cutAndStore(entries, recalled, options);
}

/** The tree when every file's content is known without reading it. */
function knownRows(entries: readonly SourceEntry[], recalled: Recollection): CutRows | undefined {
  const rows: Row[] = [];
  const lists = new Map<Digest, readonly ChunkRef[]>();
  for (const [i, entry] of entries.entries()) {
    const cut = isSourceFile(entry) ? recalled[i] : null;
    if (cut === undefined) return undefined;
    if (cut !== null && cut.list.length > 0) lists.set(cut.sha256, cut.list);
    rows.push(toRow(entry, cut));
  }
  return { rows, lists, ...outlineOf(rows) };
}
