import type { ChunkId, Digest } from "../../lib/text/ids.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import type { FrameRef, ChunkRef } from "../tree/pack.ts";
import type { PackMap } from "../fetch/pack-map.ts";
import type { FileRow } from "../tree/rows.ts";
import type { Content } from "../tree/tree-source.ts";
import type { ScratchFile } from "./scratch-file.ts";

/** What a file is made of, once the heads of the packs were read. @throws SkeinError CHUNK_MISSING */
function chunksOf(packs: PackMap, row: FileRow): readonly ChunkRef[] {
  const id = row.sha256 as string as ChunkId;
  if (packs.chunks.has(id)) return [{ id, length: row.size }];
  const list = packs.lists.get(row.sha256);
  if (list !== undefined) return list;
  throw new SkeinError("CHUNK_MISSING", `no pack tells the chunks of ${JSON.stringify(row.path)}`, {
    data: { path: row.path },
  });
}

async function readHeads(packs: PackMap, rows: Iterable<FileRow>): Promise<void> {
  let unknown = [...rows];
  await packs.readUntil(() => {
    unknown = unknown.filter(
      ({ sha256 }) => !packs.chunks.has(sha256 as string as ChunkId) && !packs.lists.has(sha256),
    );
    return unknown.length === 0;
  });
}

/**
 * Lays contents of a tree down in a scratch file, each whole, in whatever order their chunks arrive.
 * @returns digest → where it lies
 * @throws SkeinError CHUNK_MISSING, CHUNK_CORRUPT, PACK_CORRUPT
 */
export async function layContents(
  packs: PackMap,
  rows: readonly FileRow[],
  scratch: ScratchFile,
): Promise<ReadonlyMap<Digest, Content>> {
  await readHeads(packs, rows);
  const laid = new Map<Digest, Content>();
  const places = new Map<ChunkId, number[]>();
  let end = scratch.end;
  for (const row of rows) {
    if (laid.has(row.sha256)) continue;
    laid.set(row.sha256, scratch.contentAt(end));
    for (const chunk of chunksOf(packs, row)) {
      const others = places.get(chunk.id);
      if (others === undefined) places.set(chunk.id, [end]);
      else others.push(end);
      end += chunk.length;
    }
  }
  await packs.fetch(new Set(places.keys()), (chunk, bytes) => {
    for (const at of places.get(chunk.id) ?? []) scratch.lay(bytes, at);
  });
  return laid;
}

/**
 * Bytes of the frames that a node would fetch for these contents when it has those of `known`.
 * @throws SkeinError CHUNK_MISSING
 */
export async function packCost(
  packs: PackMap,
  rows: readonly FileRow[],
  known: { readonly packs: PackMap; readonly rows: readonly FileRow[] },
): Promise<number> {
  await readHeads(packs, rows);
  await readHeads(known.packs, known.rows);
  const here = new Set(known.rows.flatMap((row) => chunksOf(known.packs, row).map(({ id }) => id)));
  const frames = new Set<FrameRef>();
  for (const row of rows) {
    for (const { id } of chunksOf(packs, row)) {
      const place = here.has(id) ? undefined : packs.chunks.get(id);
      if (place !== undefined) frames.add(place.frame);
    }
  }
  return frames.values().reduce((sum, { length }) => sum + length, 0);
}
