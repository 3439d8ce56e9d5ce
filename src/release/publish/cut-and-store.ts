import { setImmediate } from "node:timers/promises";
import type { Digest } from "../../lib/ids.ts";
import { Turns } from "../../lib/turns.ts";
import type { Depot } from "../../depot/depot.ts";
import { readCatalogue, type Catalogue } from "./catalogue.ts";
import { BUFFER_BYTES, ContentReader, type ChunkSink, type CutFile } from "./content-reader.ts";
import type { ChunkRef, Effort } from "../tree/pack.ts";
import { PackWriter } from "./pack-writer.ts";
import { isFileRow, type Row } from "../tree/rows.ts";
import { cutSegments, type Segment } from "../tree/segments.ts";
import type { StatCache } from "./stat-cache.ts";
import { indexOf } from "../fetch/tree-blobs.ts";
import type { PublishedTree, PublishProgress } from "../tree/published.ts";
import type { SourceEntry, SourceFile } from "../tree/tree-source.ts";

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

export interface StoredTree {
  readonly rows: readonly Row[];
  readonly segments: readonly Segment[];
  /** Digest of a file of more than one chunk → its chunks in order. */
  readonly lists: ReadonlyMap<Digest, readonly ChunkRef[]>;
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
  cache: StatCache,
  options: CutOptions,
): Promise<StoredTree> {
  const { depot, signal } = options;
  const catalogue = await readCatalogue(depot, await packsBefore(options), options.cacheDir, signal);
  const writer = new PackWriter(depot, catalogue, effortFor(entries, cache));
  const reader = new ContentReader(writer.room);
  const rows: Row[] = [];
  const lists = new Map<Digest, readonly ChunkRef[]>();
  let filesRead = 0;
  const sink: ChunkSink = (chunk, bytes) => writer.add(chunk, bytes);
  const turns = new Turns(signal);
  const between = async (): Promise<void> => {
    if (writer.isFull) await writer.flush(signal);
    // Of what the depot has nothing is stored, and nobody would be waited for.
    await turns.took(BUFFER_BYTES);
  };
  for (const entry of entries) {
    let cut: CutFile | null = null;
    if (entry.kind === "f" || entry.kind === "x") {
      const remembered = cache.get(entry);
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
  const segments = cutSegments(rows);
  await storeSegments(segments, writer, signal);
  return {
    rows,
    segments,
    lists,
    filesRead,
    writer,
    packs: packsOf(segments, rows, lists, catalogue, writer),
  };
}

async function packsBefore({ previous, depot, signal }: CutOptions): Promise<readonly Digest[]> {
  return previous === null ? [] : ((await indexOf(depot, previous.tree, signal))?.packs ?? []);
}

/** Segments get frames of their own: an installing node reads them before anything else. */
async function storeSegments(
  segments: readonly Segment[],
  writer: PackWriter,
  signal: AbortSignal,
): Promise<void> {
  writer.endFrame();
  for (const segment of segments) {
    writer.add(segmentChunk(segment), segment.bytes);
    if (writer.isFull) await writer.flush(signal);
  }
  await writer.end(signal);
}

const segmentChunk = (segment: Segment): ChunkRef => ({
  id: segment.id as string as ChunkRef["id"],
  length: segment.bytes.length,
});

export function toRow(entry: SourceEntry, cut: CutFile | null): Row {
  if (entry.kind === "d") return { kind: "d", path: entry.path };
  if (entry.kind === "l") return { kind: "l", path: entry.path, target: entry.target };
  if (cut === null) throw new TypeError(`${entry.path} was not cut`);
  return { kind: entry.kind, path: entry.path, size: entry.size, sha256: cut.sha256 };
}

function isStored({ size }: SourceFile, { sha256, list }: CutFile, { chunks }: Catalogue): boolean {
  if (list.length > 0) return list.every(({ id }) => chunks.has(id));
  return size === 0 || chunks.has(sha256 as string as ChunkRef["id"]);
}

function effortFor(entries: readonly SourceEntry[], cache: StatCache): Effort {
  let unknown = 0;
  for (const entry of entries) {
    if ((entry.kind === "f" || entry.kind === "x") && cache.get(entry) === undefined) unknown += entry.size;
  }
  return unknown < SMALL_BYTES ? "hard" : "quick";
}

/** The new packs, last one first, then the others. */
function packsOf(
  segments: readonly Segment[],
  rows: readonly Row[],
  lists: ReadonlyMap<Digest, readonly ChunkRef[]>,
  catalogue: Catalogue,
  writer: PackWriter,
): Digest[] {
  const used = new Set<Digest>(writer.stored.toReversed());
  const use = (pack: Digest | undefined): void => {
    if (pack === undefined) throw new TypeError("a chunk is in no pack");
    used.add(pack);
  };
  for (const segment of segments) use(catalogue.chunks.get(segmentChunk(segment).id));
  for (const row of rows) {
    if (!isFileRow(row) || row.size === 0) continue;
    const list = lists.get(row.sha256);
    for (const { id } of list ?? []) use(catalogue.chunks.get(id));
    use(
      list === undefined
        ? catalogue.chunks.get(row.sha256 as string as ChunkRef["id"])
        : catalogue.lists.get(row.sha256)?.pack,
    );
  }
  return [...used];
}
