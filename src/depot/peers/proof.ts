import { createHash, hash } from "node:crypto";
import type { DepotReader } from "../seam/depot.ts";
import { unpooled } from "../../lib/memory/free.ts";
import { PIECE_BYTES } from "../cache/piece-file.ts";

/**
 * A hub's word on what a blob's pieces hash to. Unsigned, and only there to find a lying peer at once: what the bytes
 * are worth is proved by the ids that they lead to, as ever.
 */
export interface PieceProof {
  /** Of the blob, in bytes. */
  readonly size: number;
  /** The first 16 bytes of each piece's SHA-256, in hex, one after the other. */
  readonly hashes: string;
}

/** The same with the bytes of a blob that is not worth asking peers for. */
export interface ProvenBlob extends PieceProof {
  /** Absent: it is larger than `WHOLE_BYTES`. */
  readonly bytes?: Uint8Array;
}

/** A blob of at most so many bytes is given at once to whoever asks what its pieces hash to. */
export const WHOLE_BYTES = 16_384;
const HASH_CHARS = 32;

/** Reads a blob once. @throws SkeinError BLOB_MISSING */
export async function proveBlob(depot: DepotReader, name: string, signal: AbortSignal): Promise<ProvenBlob> {
  return await prove(depot.get(name, signal));
}

/** The proof of a blob whose bytes these are. */
export async function prove(pieces: AsyncIterable<Uint8Array>): Promise<ProvenBlob> {
  const whole: Uint8Array[] = [];
  let size = 0;
  let hashes = "";
  let sum = createHash("sha256");
  const end = (): void => {
    hashes += sum.digest("hex").slice(0, HASH_CHARS);
    sum = createHash("sha256");
  };
  for await (const bytes of pieces) {
    if (size + bytes.length <= WHOLE_BYTES) whole.push(Buffer.from(bytes));
    for (let rest = bytes; rest.length > 0;) {
      const part = rest.subarray(0, PIECE_BYTES - (size % PIECE_BYTES));
      sum.update(part);
      size += part.length;
      rest = rest.subarray(part.length);
      if (size % PIECE_BYTES === 0) end();
    }
  }
  if (size % PIECE_BYTES !== 0) end();
  return size <= WHOLE_BYTES ? { size, hashes, bytes: unpooled(Buffer.concat(whole)) } : { size, hashes };
}

/** Whether bytes that were given for `start` and what follows may be the blob's: nothing says otherwise. */
export function mayBe(proof: PieceProof, start: number, end: number, bytes: Uint8Array): boolean {
  if (bytes.length !== Math.max(0, Math.min(end, proof.size) - start)) return false;
  const isWhole =
    start % PIECE_BYTES === 0 && (bytes.length === PIECE_BYTES || start + bytes.length === proof.size);
  if (!isWhole || bytes.length === 0) return true;
  const at = (start / PIECE_BYTES) * HASH_CHARS;
  return hash("sha256", bytes, "hex").startsWith(proof.hashes.slice(at, at + HASH_CHARS));
}
