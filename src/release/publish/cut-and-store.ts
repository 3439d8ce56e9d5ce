import { setImmediate } from "node:timers/promises";
import { freeNow } from "../../lib/memory/free.ts";
import type { ChunkId, Digest } from "../../lib/text/ids.ts";
import { Pauses } from "../../lib/async/pauses.ts";
import type { Depot } from "../../depot/seam/depot.ts";
import { readCatalogue, type Catalogue } from "./catalogue.ts";
import { BUFFER_BYTES, ContentReader, type ChunkSink, type CutFile } from "./content-reader.ts";
import type { CutRows } from "./leads.ts";
import type { ChunkRef, Effort } from "../tree/pack.ts";
import { PackWriter } from "./pack-writer.ts";
import { isFileRow, TreeSum, type Row } from "../tree/rows.ts";
import { eachSegment, type Outline, type SegmentRef, type TreeSegment } from "../tree/segments.ts";
import type { Recollection } from "./stat-cache.ts";
import { indexOf } from "../fetch/tree-blobs.ts";
import type { PublishedTree, PublishProgress } from "../tree/published.ts";
import { isSourceFile, type SourceEntry, type SourceFile } from "../tree/tree-source.ts";

/** Of more new data than this the time counts for more than the last bytes. */
const SMALL_BYTES = 64 * 1024 * 1024;
/** Entries handled before other work of the process gets its turn. */
const ENTRIES_PER_TURN = 64;

export interface CutOptions {
  readonly depot: Depot;
  readonly previous: PublishedTree | null;
  readonly cacheDir: string | null;
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: PublishProgress) => void;
}

export interface StoredTree extends CutRows {
  readonly filesRead: number;
  readonly writer: PackWriter | undefined;
  /** Packs that the tree needs, newest first; undefined when its index is there already. */
  readonly packs: readonly Digest[] | undefined;
}

/**
 * Reads what is not known, stores what the depot lacks, and says which packs the tree needs.
 * @throws SkeinError TREE_REFUSED, IO; whatever the depot throws
 */
export async function cutAndStore(
  entries: readonly SourceEntry[],
  recalled: Recollection,
  options: CutOptions,
): Promise<StoredTree> {
  const { depot, signal } = options;
  const catalogue = await readCatalogue(depot, await packsBefore(options), options.cacheDir, signal);
  const writer = new PackWriter(depot, catalogue, effortFor(entries, recalled));
  const reader = new ContentReader(writer.room);
  const rows: Row[] = [];
  const lists = new Map<Digest, readonly ChunkRef[]>();
  let filesRead = 0;
  const sink: ChunkSink = (chunk, bytes) => writer.add(chunk, bytes);
  const pauses = new Pauses(signal);
  const between = async (): Promise<void> => {
    if (writer.isFull) await writer.flush(signal);
    // Of what the depot has nothing is stored, and nobody would be waited for.
    await pauses.took(BUFFER_BYTES);
  };
  for (const entry of entries) {
    let cut: CutFile | null = null;
    if (isSourceFile(entry)) {
      const remembered = recalled[rows.length];
      cut = remembered !== undefined && isStored(entry, remembered, catalogue) ? remembered : null;
      if (cut === null) {
        cut = await reader.cut(entry, sink, between);
        filesRead += 1;
      }
      if (cut.list.length > 0) {
        await writer.addList(cut.sha256, cut.list, signal);
        lists.set(cut.sha256, cut.list);
      }
      if (writer.isFull) await writer.flush(signal);
    }
    rows.push(toRow(entry, cut));
    if (rows.length % ENTRIES_PER_TURN !== 1) continue;
    // A pack that is being stored goes on meanwhile.
    await setImmediate();
    signal.throwIfAborted();
    options.onProgress?.({ files: rows.length, filesTotal: entries.length, storedBytes: writer.storedBytes });
  }
  const cut = { rows, lists, ...(await storeRows(rows, writer, signal)) };
  return { ...cut, filesRead, writer, packs: packsOf(cut, catalogue, writer) };
}

async function packsBefore({ previous, depot, signal }: CutOptions): Promise<readonly Digest[]> {
  return previous === null ? [] : ((await indexOf(depot, previous.tree, signal))?.packs ?? []);
}

/** Their segments get frames of their own: an installing node reads them before anything else. */
async function storeRows(rows: readonly Row[], writer: PackWriter, signal: AbortSignal): Promise<Outline> {
  const sum = new TreeSum();
  const segments: TreeSegment[] = [];
  writer.endFrame();
  for (const { bytes, ...segment } of eachSegment(rows)) {
    sum.add(bytes);
    segments.push(segment);
    writer.add({ id: chunkOf(segment), length: segment.length }, bytes);
    freeNow(bytes);
    if (writer.isFull) await writer.flush(signal);
  }
  await writer.end(signal);
  return { tree: sum.end(), segments };
}

const chunkOf = ({ id }: SegmentRef): ChunkId => id as string as ChunkId;

export function toRow(entry: SourceEntry, cut: CutFile | null): Row {
  if (entry.kind === "d") return { kind: "d", path: entry.path };
  if (entry.kind === "l") return { kind: "l", path: entry.path, target: entry.target };
  if (cut === null) throw new TypeError(`${entry.path} was not cut`);
  return { kind: entry.kind, path: entry.path, size: entry.size, sha256: cut.sha256 };
}

function isStored({ size }: SourceFile, { sha256, list }: CutFile, { chunks }: Catalogue): boolean {
  if (list.length > 0) return list.every(({ id }) => chunks.has(id));
  return size === 0 || chunks.has(sha256 as string as ChunkId);
}

function effortFor(entries: readonly SourceEntry[], recalled: Recollection): Effort {
  let unknown = 0;
  for (const [i, entry] of entries.entries()) {
    if (isSourceFile(entry) && recalled[i] === undefined) unknown += entry.size;
  }
  return unknown < SMALL_BYTES ? "hard" : "quick";
}

/** The new packs, last one first, then the others. */
function packsOf({ rows, lists, segments }: CutRows, catalogue: Catalogue, writer: PackWriter): Digest[] {
  const used = new Set<Digest>(writer.stored.toReversed());
  const use = (pack: Digest | undefined): void => {
    if (pack === undefined) throw new TypeError("a chunk is in no pack");
    used.add(pack);
  };
  for (const segment of segments) use(catalogue.chunks.get(chunkOf(segment)));
  for (const row of rows) {
    if (!isFileRow(row) || row.size === 0) continue;
    const list = lists.get(row.sha256);
    for (const { id } of list ?? []) use(catalogue.chunks.get(id));
    use(
      list === undefined
        ? catalogue.chunks.get(row.sha256 as string as ChunkId)
        : catalogue.lists.get(row.sha256)?.pack,
    );
  }
  return [...used];
}
