import { createHash } from "node:crypto";
import { SkeinError } from "../../lib/errors/errors.ts";
import type { ChunkId } from "../../lib/text/ids.ts";
import type { DepotReader } from "../../depot/seam/depot.ts";
import { Fetcher } from "../fetch/fetcher.ts";
import type { ChunkRef } from "../tree/pack.ts";
import type { PublishedTree } from "../tree/published.ts";
import { isFileRow, type FileRow } from "../tree/rows.ts";
import { loadTree, type LoadedTree } from "../fetch/tree-blobs.ts";
import { walkChunks } from "./chunk-walk.ts";

/** Chunks of a file that are held at once: 4 MiB at most. */
const WINDOW = 16;

/**
 * Reads all of a tree, as an install would, and keeps nothing: rows against the signed ids, every chunk against its
 * own, every file of several chunks against the hash in its row.
 * @param depots tried in this order
 * @throws SkeinError BLOB_MISSING, CHUNK_MISSING, CHUNK_CORRUPT, PACK_CORRUPT, TREE_CORRUPT, TREE_REFUSED
 */
export async function verifyTree(
  depots: readonly DepotReader[],
  wanted: PublishedTree,
  signal: AbortSignal,
): Promise<LoadedTree> {
  const tree = await loadTree(new Fetcher(depots, signal), wanted);
  await tree.packs.readUntil(() => false);
  const files = tree.rows.filter(isFileRow).filter(({ size }) => size > 0);
  const single = new Map<ChunkId, number>();
  for (const row of files) {
    const list = tree.packs.lists.get(row.sha256);
    if (list === undefined) single.set(row.sha256 as string as ChunkId, row.size);
    else await verifyFile(tree, row, list);
  }
  const check = (chunk: ChunkRef): void => {
    if (single.get(chunk.id) !== chunk.length) throw corrupt(chunk.id);
  };
  await walkChunks(tree.packs, single.keys(), check, async () => await Promise.resolve());
  return tree;
}

async function verifyFile({ packs }: LoadedTree, row: FileRow, list: readonly ChunkRef[]): Promise<void> {
  const sum = createHash("sha256");
  let size = 0;
  for (let at = 0; at < list.length; at += WINDOW) {
    const window = list.slice(at, at + WINDOW);
    const bytes = new Map<ChunkId, Buffer>();
    await packs.fetch(new Set(window.map(({ id }) => id)), (chunk, lent) => {
      bytes.set(chunk.id, Buffer.from(lent));
    });
    for (const { id } of window) {
      const chunk = bytes.get(id) ?? Buffer.alloc(0);
      sum.update(chunk);
      size += chunk.length;
    }
  }
  if (size !== row.size || sum.digest("hex") !== String(row.sha256)) throw corrupt(row.path);
}

function corrupt(what: string): SkeinError {
  return new SkeinError("CHUNK_CORRUPT", `${what} is not what the tree says`, { data: { file: what } });
}
