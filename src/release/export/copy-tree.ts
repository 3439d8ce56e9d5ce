import type { ChunkId, Digest } from "../../lib/text/ids.ts";
import type { Depot, DepotReader } from "../../depot/seam/depot.ts";
import { bytesBlob, readBlob } from "../fetch/blobs.ts";
import type { Catalogue } from "../publish/catalogue.ts";
import { Fetcher } from "../fetch/fetcher.ts";
import { PackWriter } from "../publish/pack-writer.ts";
import type { PublishedTree } from "../tree/published.ts";
import { encodeIndex, indexName } from "../tree/release-index.ts";
import { loadTree, type LoadedTree, TABLE_BYTES } from "../fetch/tree-blobs.ts";
import { chunksOfTree, walkChunks } from "./chunk-walk.ts";
import { isFileRow } from "../tree/rows.ts";

export interface CopyOptions {
  readonly tree: PublishedTree;
  readonly from: DepotReader;
  /** Must be able to hold what is copied; may be `from` itself. */
  readonly to: Depot;
  /** Chunks and lists that `to` has, with the packs that hold them; what is copied is entered. */
  readonly known: Catalogue;
  readonly signal: AbortSignal;
}

export interface Copied {
  /** Packs that were made, newest first. */
  readonly made: readonly Digest[];
  /** All packs that the tree needs in `to`: those made, then those that held something before. */
  readonly packs: readonly Digest[];
}

/**
 * Puts a tree into another depot: packs of exactly those of its chunks that are not known there, its tables, and last
 * its index, which names all packs that it needs.
 * @throws SkeinError BLOB_MISSING, CHUNK_MISSING, CHUNK_CORRUPT, PACK_CORRUPT, TREE_CORRUPT; whatever `to` throws
 */
export async function copyTree(options: CopyOptions): Promise<Copied> {
  const { tree, from, to, signal } = options;
  const copied = await copyChunks(options);
  const tables = [`rows/${tree.rows}`, ...(tree.since === null ? [] : [`since/${tree.since}`])];
  for (const name of from === to ? [] : tables) {
    await to.put(name, bytesBlob(await readBlob(from, name, TABLE_BYTES, signal)), signal);
  }
  await to.put(indexName(tree.tree), bytesBlob(encodeIndex({ packs: copied.packs, deltas: [] })), signal);
  return copied;
}

/** As `copyTree`, without tables and index: nobody would find what is copied. */
async function copyChunks({ tree, from, to, known, signal }: CopyOptions): Promise<Copied> {
  const loaded = await loadTree(new Fetcher([from], signal), tree);
  const writer = new PackWriter(to, known, "hard");
  const flushFull = async (): Promise<void> => {
    if (writer.isFull) await writer.flush(signal);
  };
  const chunks = await chunksOfTree(loaded);
  const segments = new Set(loaded.segments.map(({ id }) => id as string as ChunkId));
  const unknown = (ids: ReadonlySet<ChunkId>) => [...ids].filter((id) => !known.chunks.has(id));
  await walkChunks(loaded.packs, unknown(chunks), (chunk, bytes) => writer.add(chunk, bytes), flushFull);
  for (const [file, list] of listsOf(loaded)) {
    await writer.addList(file, list, signal);
    await flushFull();
  }
  // Frames of their own: an installing node reads them before anything else.
  writer.endFrame();
  await walkChunks(loaded.packs, unknown(segments), (chunk, bytes) => writer.add(chunk, bytes), flushFull);
  await writer.end(signal);
  const made = writer.stored.toReversed();
  const used = new Set(made);
  for (const id of [...segments, ...chunks]) used.add(packOf(known.chunks.get(id)));
  for (const [file] of listsOf(loaded)) used.add(packOf(known.lists.get(file)?.pack));
  return { made, packs: [...used] };
}

function packOf(pack: Digest | undefined): Digest {
  if (pack === undefined) throw new TypeError("a chunk was copied into no pack");
  return pack;
}

/** The chunk lists of the tree's files that are made of more than one. */
function* listsOf({ rows, packs }: LoadedTree) {
  for (const row of rows) {
    const list = isFileRow(row) ? packs.lists.get(row.sha256) : undefined;
    if (list !== undefined && isFileRow(row)) yield [row.sha256, list] as const;
  }
}
