import type { ChunkId } from "../../lib/text/ids.ts";
import type { PackMap } from "../fetch/pack-map.ts";
import type { ChunkTaker } from "../fetch/fetch-frames.ts";
import type { FrameRef } from "../tree/pack.ts";
import { isFileRow } from "../tree/rows.ts";
import type { LoadedTree } from "../fetch/tree-blobs.ts";

/** Frames whose chunks are fetched at once; a pack being written has room for as many (pack-writer.ts). */
const FRAMES_AT_ONCE = 3;

/**
 * The chunks of a tree's files, each once, in the order of the tree. Reads the heads of its packs.
 * @throws SkeinError BLOB_MISSING, PACK_CORRUPT
 */
export async function chunksOfTree({ rows, packs }: LoadedTree): Promise<Set<ChunkId>> {
  await packs.readUntil(() => false);
  const chunks = new Set<ChunkId>();
  for (const row of rows) {
    if (!isFileRow(row) || row.size === 0) continue;
    const list = packs.lists.get(row.sha256);
    if (list === undefined) chunks.add(row.sha256 as string as ChunkId);
    else for (const { id } of list) chunks.add(id);
  }
  return chunks;
}

/**
 * Fetches chunks a few frames at a time, so that memory stays bounded; `between` runs when none is under way. Their
 * heads must have been read.
 * @throws SkeinError CHUNK_MISSING, CHUNK_CORRUPT, PACK_CORRUPT
 */
export async function walkChunks(
  packs: PackMap,
  chunks: Iterable<ChunkId>,
  take: ChunkTaker,
  between: () => Promise<void>,
): Promise<void> {
  const byFrame = new Map<FrameRef | undefined, ChunkId[]>();
  for (const id of chunks) {
    const frame = packs.chunks.get(id)?.frame;
    const known = byFrame.get(frame);
    if (known === undefined) byFrame.set(frame, [id]);
    else known.push(id);
  }
  const groups = [...byFrame.values()];
  for (let at = 0; at < groups.length; at += FRAMES_AT_ONCE) {
    await packs.fetch(new Set(groups.slice(at, at + FRAMES_AT_ONCE).flat()), take);
    await between();
  }
}
