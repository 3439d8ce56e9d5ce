import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { test } from "node:test";
import type { DepotReader } from "../seam/depot.ts";
import { PIECE_BYTES } from "../cache/piece-file.ts";
import { mayBe, proveBlob, WHOLE_BYTES } from "./proof.ts";

/** A depot of one blob, which comes in parts. */
const holding = (...parts: readonly Uint8Array[]): DepotReader =>
  ({
    async *get() {
      yield* parts;
    },
  }) as unknown as DepotReader;

test("a small blob is kept whole, and takes no more memory than it has bytes", async (t) => {
  const { size, bytes } = await proveBlob(holding(Buffer.from("one "), Buffer.from("two")), "blob", t.signal);
  assert.ok(bytes);
  assert.equal(Buffer.from(bytes).toString(), "one two");
  assert.deepEqual([size, bytes.buffer.byteLength], [7, 7]);
});

test("of a large blob only what its pieces hash to is kept", async (t) => {
  const proof = await proveBlob(holding(new Uint8Array(WHOLE_BYTES + 1)), "blob", t.signal);
  assert.equal(proof.bytes, undefined);
  assert.equal(proof.size, WHOLE_BYTES + 1);
});

/** Bytes of which no two pieces are alike. */
function bytesOf(size: number): Buffer {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at + 4 <= size; at += 4) bytes.writeUInt32LE(at, at);
  return bytes;
}

test("the pieces of a blob are hashed each for itself, whatever the parts it comes in", async (t) => {
  for (const size of [1, PIECE_BYTES - 1, PIECE_BYTES, 2 * PIECE_BYTES, 2 * PIECE_BYTES + 1]) {
    const blob = bytesOf(size);
    const [pieces, parts] = [PIECE_BYTES, 100_001].map((each) =>
      Array.from({ length: Math.ceil(size / each) }, (_, n) => blob.subarray(n * each, (n + 1) * each)),
    );
    assert.ok(pieces && parts);
    const { hashes } = await proveBlob(holding(...parts), "blob", t.signal);
    assert.equal(hashes, pieces.map((piece) => hash("sha256", piece, "hex").slice(0, 32)).join(""));
  }
  const { bytes } = await proveBlob(holding(bytesOf(WHOLE_BYTES)), "blob", t.signal);
  assert.deepEqual(bytes, bytesOf(WHOLE_BYTES));
});

test("other bytes than a blob's are found out, wherever a whole piece of it was asked for", async (t) => {
  const blob = bytesOf(2 * PIECE_BYTES + 1000);
  const proof = await proveBlob(holding(blob), "blob", t.signal);
  const other = (bytes: Uint8Array): Uint8Array => bytes.with(bytes.length - 1, 0xff ^ (bytes.at(-1) ?? 0));
  for (const start of [0, PIECE_BYTES, 2 * PIECE_BYTES]) {
    const end = start + PIECE_BYTES;
    const piece = blob.subarray(start, end);
    assert.ok(mayBe(proof, start, end, piece), `${start}`);
    assert.ok(!mayBe(proof, start, end, other(piece)), `${start}: another byte`);
    assert.ok(!mayBe(proof, start, end, piece.subarray(1)), `${start}: a byte too few`);
    assert.ok(!mayBe(proof, start, end, Buffer.concat([piece, Buffer.alloc(1)])), `${start}: one too many`);
  }
  assert.ok(!mayBe(proof, 0, PIECE_BYTES, blob.subarray(PIECE_BYTES, 2 * PIECE_BYTES)), "another piece");
  assert.ok(mayBe(proof, 0, 1000, other(blob.subarray(0, 1000))), "of a piece's beginning nothing is known");
  assert.ok(mayBe(proof, 1000, PIECE_BYTES, other(blob.subarray(1000, PIECE_BYTES))), "nor of its end");
  const [at, end] = [2 * PIECE_BYTES + 1, 3 * PIECE_BYTES];
  assert.ok(mayBe(proof, at, end, other(blob.subarray(at))), "nor of the blob's");
  assert.ok(mayBe(proof, blob.length, blob.length + 1, new Uint8Array()), "and behind it there is nothing");
  assert.ok(mayBe(proof, 3 * PIECE_BYTES, 4 * PIECE_BYTES, new Uint8Array()));
});
