import { hash } from "node:crypto";

/**
 * gear64k-1: cuts bytes by their content, so that a change in the middle of a file moves only the cuts around it.
 * docs/formats/chunks.md states it with test vectors. Any change to what it cuts needs a new name: two publishers
 * that cut differently share nothing.
 */
export const CUTTER = "gear64k-1";
export const MIN_CHUNK = 16 * 1024;
const AVERAGE_CHUNK = 64 * 1024;
export const MAX_CHUNK = 256 * 1024;

/** Before the average length a cut needs 18 zero bits, after it 14: lengths gather around the average. */
const STRICT_MASK = -1 << (32 - 18);
const LOOSE_MASK = -1 << (32 - 14);
const WINDOW = 32;

/** What each byte adds to the rolling state. */
export const TABLE: Int32Array = Int32Array.from({ length: 256 }, (_, i) =>
  hash("sha256", `${CUTTER}:${i}`, "buffer").readInt32LE(0),
);

/**
 * The end of the chunk that starts at `start`. `end` is the end of the file, or at least MAX_CHUNK further on:
 * a cut may not depend on how much of the file happens to be in memory.
 */
export function cutAt(bytes: Uint8Array, start: number, end: number): number {
  if (end - start <= MIN_CHUNK) return end;
  const limit = Math.min(end, start + MAX_CHUNK);
  const middle = Math.min(limit, start + AVERAGE_CHUNK);
  let at = start + MIN_CHUNK;
  let state = 0;
  for (let i = at - WINDOW; i < at; i++) {
    state = ((state << 1) + (TABLE[bytes[i] as number] as number)) | 0;
  }
  // Unrolled: these loops see every byte that is published.
  const table = TABLE;
  for (let mask = STRICT_MASK, stop = middle; ; mask = LOOSE_MASK, stop = limit) {
    for (const last = stop - 3; at < last; at += 4) {
      state = ((state << 1) + (table[bytes[at] as number] as number)) | 0;
      if ((state & mask) === 0) return at + 1;
      state = ((state << 1) + (table[bytes[at + 1] as number] as number)) | 0;
      if ((state & mask) === 0) return at + 2;
      state = ((state << 1) + (table[bytes[at + 2] as number] as number)) | 0;
      if ((state & mask) === 0) return at + 3;
      state = ((state << 1) + (table[bytes[at + 3] as number] as number)) | 0;
      if ((state & mask) === 0) return at + 4;
    }
    for (; at < stop; at++) {
      state = ((state << 1) + (table[bytes[at] as number] as number)) | 0;
      if ((state & mask) === 0) return at + 1;
    }
    if (stop === limit) return limit;
  }
}
