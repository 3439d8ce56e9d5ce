import assert from "node:assert/strict";
import { test } from "node:test";
import { digestOf, type ChunkId } from "../../lib/text/ids.ts";
import { ChunkTable } from "./chunk-table.ts";
import { CHUNK_ENTRY, type FrameRef } from "../tree/pack.ts";

const id = (n: number): ChunkId => digestOf(String(n)) as string as ChunkId;

function frameOf(ids: readonly ChunkId[]): FrameRef {
  const entries = Buffer.alloc(ids.length * CHUNK_ENTRY);
  for (const [n, one] of ids.entries()) entries.write(one, n * CHUNK_ENTRY, "hex");
  return { start: 0, length: 1, raw: 1, entries };
}

test("every chunk is found in the frame that named it first, and no other is", () => {
  const table = new ChunkTable<{ frame: FrameRef; n: number }>();
  for (let n = 0; n < 100; n++) {
    const ids = Array.from({ length: 50 }, (_, i) => id(n * 40 + i));
    table.add({ frame: frameOf(ids), n });
  }
  for (let n = 0; n < 4010; n++) assert.equal(table.get(id(n))?.n, n < 50 ? 0 : Math.ceil((n - 49) / 40));
  for (let n = 4010; n < 6000; n++) assert.equal(table.has(id(n)), false);
});

test("ids that begin alike are told apart", () => {
  const table = new ChunkTable<{ frame: FrameRef }>();
  const ids = Array.from(
    { length: 200 },
    (_, n) => `${"0".repeat(60)}${n.toString(16).padStart(4, "0")}` as ChunkId,
  );
  table.add({ frame: frameOf(ids.slice(0, 100)) });
  for (const [n, one] of ids.entries()) assert.equal(table.has(one), n < 100);
});

test("ids that were made up to fall on each other are refused before they cost much time", () => {
  const table = new ChunkTable<{ frame: FrameRef }>();
  const ids = Array.from(
    { length: 5000 },
    (_, n) => `${"0".repeat(60)}${n.toString(16).padStart(4, "0")}` as ChunkId,
  );
  assert.throws(() => table.add({ frame: frameOf(ids) }), { code: "PACK_CORRUPT" });
});
