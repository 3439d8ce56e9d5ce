/** What makes a blob worth its name, found out from its bytes alone: for whoever takes blobs in for others. */
import type { ReadRange } from "../../depot/seam/depot.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { digestOf } from "../../lib/text/ids.ts";
import { decodeHead, headLength, inflateAside, openFrame, PRELUDE_BYTES } from "../tree/pack.ts";
import { ROOT_BYTES } from "../tree/segments.ts";
import { TABLE_BYTES } from "./tree-blobs.ts";

/**
 * Every chunk that a pack's head names is in it. A head that lies would have whoever publishes such a chunk believe it
 * stored, and every release that holds it could not be installed any more.
 * @throws SkeinError PACK_CORRUPT, CHUNK_CORRUPT
 */
export async function provePack(read: ReadRange, size: number): Promise<void> {
  const prelude = await read({ start: 0, end: PRELUDE_BYTES });
  const head = decodeHead(await read({ start: 0, end: headLength(prelude) }));
  if (head.size !== size) throw new SkeinError("PACK_CORRUPT", "a pack ends elsewhere than its head says");
  for (const frame of head.frames) {
    const bytes = await read({ start: frame.start, end: frame.start + frame.length });
    openFrame(frame, await inflateAside(bytes, frame.raw), () => undefined);
  }
}

/** A table (`rows/`, `since/`) inflates to what its name is the digest of. @throws SkeinError TREE_CORRUPT, PACK_CORRUPT */
export async function proveTable(
  folder: "rows" | "since",
  id: string,
  read: ReadRange,
  size: number,
): Promise<void> {
  const bytes = await read({ start: 0, end: size });
  const length = bytes.length < 4 ? 0 : bytes.readUInt32LE(0);
  if (length > (folder === "rows" ? ROOT_BYTES : TABLE_BYTES))
    throw new SkeinError("TREE_CORRUPT", "a table inflates too far");
  if (digestOf(await inflateAside(bytes.subarray(4), length)) === id) return;
  throw new SkeinError("TREE_CORRUPT", "a table has other bytes than its name says");
}
