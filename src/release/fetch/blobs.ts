import { digestOf, type Digest } from "../../lib/text/ids.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import type { BlobSource, ByteRange, Depot, DepotReader } from "../../depot/seam/depot.ts";
import {
  compress,
  decodeHead,
  headLength,
  inflate,
  packName,
  PRELUDE_BYTES,
  type PackHead,
} from "../tree/pack.ts";

/** Heads are mostly shorter than this: one request instead of two. */
const HEAD_GUESS = 16 * 1024;
/** Length of what a compressed blob inflates to, before the zstd frame. */
const LENGTH_BYTES = 4;

export const bytesBlob = (bytes: Buffer): BlobSource => piecesBlob([bytes], digestOf(bytes));

/** `sha256`: of all pieces, one after the other. */
export function piecesBlob(pieces: readonly Buffer[], sha256: Digest): BlobSource {
  return {
    size: pieces.reduce((sum, piece) => sum + piece.length, 0),
    sha256,
    inMemory: true,
    async *open(offset) {
      let start = offset;
      for (const piece of pieces) {
        if (start < piece.length) yield piece.subarray(start);
        start = Math.max(0, start - piece.length);
      }
    },
  };
}

/** Reads a blob, or a range of it, whole. @throws SkeinError BLOB_MISSING; PACK_CORRUPT when over `maxBytes` */
export async function readBlob(
  depot: DepotReader,
  name: string,
  maxBytes: number,
  signal: AbortSignal,
  range?: ByteRange,
): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of depot.get(name, signal, range)) {
    length += piece.length;
    if (length > maxBytes) {
      throw new SkeinError("PACK_CORRUPT", `${name} is longer than it may be`, { data: { blob: name } });
    }
    pieces.push(piece);
  }
  return Buffer.concat(pieces, length);
}

/** Stores bytes compressed under the digest of what they inflate to. */
export async function putCompressed(
  depot: Depot,
  folder: "rows" | "since",
  raw: Buffer,
  signal: AbortSignal,
): Promise<Digest> {
  const id = digestOf(raw);
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32LE(raw.length);
  await depot.put(`${folder}/${id}`, bytesBlob(Buffer.concat([length, compress(raw, 9)])), signal);
  return id;
}

/** Reads what `putCompressed` stored, checked. @throws SkeinError BLOB_MISSING TREE_CORRUPT PACK_CORRUPT */
export async function getCompressed(
  depot: DepotReader,
  folder: "rows" | "since",
  id: Digest,
  maxBytes: number,
  signal: AbortSignal,
): Promise<Buffer> {
  const name = `${folder}/${id}`;
  const blob = await readBlob(depot, name, maxBytes, signal);
  const length = blob.length < LENGTH_BYTES ? 0 : blob.readUInt32LE(0);
  if (length > maxBytes) throw new SkeinError("TREE_CORRUPT", `${name} inflates too far`);
  const raw = inflate(blob.subarray(LENGTH_BYTES), length);
  if (digestOf(raw) !== id) {
    throw new SkeinError("TREE_CORRUPT", `${name} has other bytes than its name says`, {
      data: { blob: name },
    });
  }
  return raw;
}

/** The bytes of a pack's prelude and head. @throws SkeinError BLOB_MISSING PACK_CORRUPT */
export async function readHeadBytes(depot: DepotReader, id: Digest, signal: AbortSignal): Promise<Buffer> {
  const name = packName(id);
  const first = await readBlob(depot, name, HEAD_GUESS, signal, { start: 0, end: HEAD_GUESS });
  const length = headLength(first);
  if (length <= first.length) return first.subarray(0, length);
  if (first.length < PRELUDE_BYTES || first.length < HEAD_GUESS) {
    throw new SkeinError("PACK_CORRUPT", `${name} is cut`, { data: { blob: name } });
  }
  const range = { start: first.length, end: length };
  return Buffer.concat([first, await readBlob(depot, name, length, signal, range)]);
}

export async function readHead(depot: DepotReader, id: Digest, signal: AbortSignal): Promise<PackHead> {
  return decodeHead(await readHeadBytes(depot, id, signal));
}
