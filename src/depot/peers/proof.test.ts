import assert from "node:assert/strict";
import { test } from "node:test";
import type { DepotReader } from "../seam/depot.ts";
import { proveBlob, WHOLE_BYTES } from "./proof.ts";

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
