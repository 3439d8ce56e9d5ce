import type { ChunkId, Digest, TreeId } from "../../lib/text/ids.ts";
import { freeNow } from "../../lib/memory/free.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import type { DepotReader } from "../../depot/seam/depot.ts";
import { checkRows, MAX_ENTRIES } from "../tree/arrange.ts";
import { getCompressed, readBlob } from "./blobs.ts";
import type { Fetcher } from "./fetcher.ts";
import { PackMap } from "./pack-map.ts";
import { packName } from "../tree/pack.ts";
import type { PublishedTree } from "../tree/published.ts";
import { decodeIndex, INDEX_BYTES, indexName, type ReleaseIndex } from "../tree/release-index.ts";
import { decodeRows, isFileRow, rereadRows, treeIdOf, type Row } from "../tree/rows.ts";
import { decodeRoot, ROOT_BYTES, type SegmentRef, type TreeSegment } from "../tree/segments.ts";
import { decodeSince } from "../tree/since.ts";

/** Longest table of times, inflated, in bytes. */
export const TABLE_BYTES = 64 * 1024 * 1024;

/** Does it say that what lies in a depot is not the whole tree, or not the one that was asked for? */
export const isUnreadable = (err: unknown): boolean =>
  isSkeinError(err, "BLOB_MISSING", "CHUNK_MISSING", "CHUNK_CORRUPT", "TREE_CORRUPT", "PACK_CORRUPT");

/** A tree as it is put down. */
export interface KnownTree {
  readonly rows: readonly Row[];
  /** What the rows came in, in order. */
  readonly segments: readonly TreeSegment[];
  /** When each file's content first appeared, in ms since the epoch; 0 when the release does not say. */
  readonly times: readonly number[];
}

export interface LoadedTree extends KnownTree {
  /** Where the tree's chunks are. */
  readonly packs: PackMap;
}

/** A tree's index, or undefined when there is none that can be read. */
export async function indexOf(
  depot: DepotReader,
  tree: TreeId,
  signal: AbortSignal,
): Promise<ReleaseIndex | undefined> {
  try {
    return await readIndex(depot, tree, signal);
  } catch (err) {
    if (isSkeinError(err, "BLOB_MISSING", "PACK_CORRUPT")) return undefined;
    throw err;
  }
}

/** @throws SkeinError BLOB_MISSING, PACK_CORRUPT */
export async function readIndex(
  depot: DepotReader,
  tree: TreeId,
  signal: AbortSignal,
): Promise<ReleaseIndex> {
  return decodeIndex(await readBlob(depot, indexName(tree), INDEX_BYTES, signal));
}

/** Is everything there that a tree's index names, and the tables? Nothing of it is read. */
export async function isStored(
  depot: DepotReader,
  { tree, rows, since }: PublishedTree,
  signal: AbortSignal,
): Promise<boolean> {
  const index = await indexOf(depot, tree, signal);
  if (index === undefined) return false;
  const tables = [`rows/${rows}`, ...(since === null ? [] : [`since/${since}`])];
  const names = new Set([...tables, ...index.packs.map(packName)]);
  return (await depot.has([...names], signal)).size === names.size;
}

export interface LoadOptions {
  /** Gives a segment's bytes where they are here, and were parsed and proved already. Default: none are. */
  readonly have?: (segment: Digest) => Buffer | undefined;
  /** Where the tree's chunks are, if its index was read before. */
  readonly packs?: PackMap;
}

/**
 * Reads a tree's rows and times, and proves them against the ids that were signed.
 * @throws SkeinError BLOB_MISSING, CHUNK_MISSING, CHUNK_CORRUPT, PACK_CORRUPT, TREE_CORRUPT, TREE_REFUSED
 */
export async function loadTree(
  fetcher: Fetcher,
  wanted: PublishedTree,
  options: LoadOptions = {},
): Promise<LoadedTree> {
  const { signal } = fetcher;
  const refs = decodeRoot(
    await fetcher.try((depot) => getCompressed(depot, "rows", wanted.rows, ROOT_BYTES, signal)),
  );
  const packs = options.packs ?? (await packsOf(fetcher, wanted.tree));
  const { pieces, fetched } = await fetchSegments(packs, refs, options.have ?? (() => undefined));
  if (treeIdOf(pieces) !== wanted.tree) {
    throw new SkeinError("TREE_CORRUPT", "the rows do not lead to the signed tree id", {
      data: { tree: wanted.tree },
    });
  }
  const rows: Row[] = [];
  const segments = refs.map((ref, i): TreeSegment => {
    const bytes = pieces[i] ?? Buffer.alloc(0);
    const decoded = fetched.has(ref.id) ? decodeRows(bytes) : rereadRows(bytes);
    for (const row of decoded) rows.push(row);
    // Now, and not when all are here: a row may be a few bytes long.
    if (rows.length > MAX_ENTRIES) checkRows(rows);
    return { ...ref, rows: decoded.length, files: decoded.filter(isFileRow).length };
  });
  for (const bytes of pieces) freeNow(bytes);
  checkRows(rows);
  return { rows, segments, times: await loadTimes(fetcher, wanted, rows), packs };
}

/** The packs that any depot's index names. */
export function packsElsewhere(fetcher: Fetcher, tree: TreeId): () => Promise<readonly Digest[]> {
  return async () => {
    const indexes = await fetcher.each(async (depot) => await readIndex(depot, tree, fetcher.signal));
    return indexes.flatMap(({ packs }) => packs);
  };
}

async function packsOf(fetcher: Fetcher, tree: TreeId): Promise<PackMap> {
  const index = await fetcher.try(async (depot) => await readIndex(depot, tree, fetcher.signal));
  return new PackMap(fetcher, index.packs, packsElsewhere(fetcher, tree));
}

async function fetchSegments(
  packs: PackMap,
  refs: readonly SegmentRef[],
  have: (segment: Digest) => Buffer | undefined,
): Promise<{ readonly pieces: readonly Buffer[]; readonly fetched: ReadonlySet<string> }> {
  const pieces = new Map<Digest, Buffer>();
  const lacking = new Set<ChunkId>();
  const fetched = new Set<string>();
  for (const { id } of refs) {
    const bytes = have(id);
    if (bytes !== undefined) pieces.set(id, bytes);
    else {
      lacking.add(id as string as ChunkId);
      fetched.add(id);
    }
  }
  await packs.fetch(lacking, (chunk, bytes) => {
    pieces.set(chunk.id as string as Digest, Buffer.from(bytes));
  });
  return { pieces: refs.map(({ id }) => pieces.get(id) ?? Buffer.alloc(0)), fetched };
}

/** The times of a tree's files, in order. @throws SkeinError BLOB_MISSING, TREE_CORRUPT */
export async function loadTimes(
  fetcher: Fetcher,
  wanted: PublishedTree,
  rows: readonly Row[],
): Promise<number[]> {
  const files = rows.filter(isFileRow).length;
  const { since } = wanted;
  if (since === null) return Array.from({ length: files }, () => 0);
  const table = await fetcher.try((depot) =>
    getCompressed(depot, "since", since, TABLE_BYTES, fetcher.signal),
  );
  return decodeSince(table, files);
}
