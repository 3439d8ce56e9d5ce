import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { digestOf, type ChunkId } from "../../lib/text/ids.ts";
import {
  chunksOf,
  compressFrame,
  decodeHead,
  encodePack,
  FRAME_BYTES,
  headLength,
  inflate,
  openFrame,
  type ChunkRef,
} from "./pack.ts";

const SRC = path.resolve(import.meta.dirname, "../..");
/** Code as people write it: this project's own. */
const TEXT = Buffer.concat(
  fs.globSync("**/*.ts", { cwd: SRC }).map((file) => fs.readFileSync(path.join(SRC, file))),
).subarray(0, FRAME_BYTES);

test("a frame comes back as it was, however it was compressed", () => {
  for (const effort of ["hard", "quick"] as const) {
    for (const chunks of [1, 16, 1000]) {
      assert.deepEqual(inflate(compressFrame(TEXT, chunks, effort), TEXT.length), TEXT);
    }
  }
});

test("only in quick frames of small files bytes are given for time", () => {
  const size = (chunks: number, effort: "hard" | "quick"): number =>
    compressFrame(TEXT, chunks, effort).length;
  assert.equal(size(1000, "hard"), size(16, "hard"));
  assert.ok(size(16, "quick") < size(1000, "quick"));
  assert.ok(size(1000, "quick") < 1.2 * size(16, "quick"));
  assert.ok(size(16, "hard") < size(16, "quick"));
});

test("a pack comes back as it was: its frames, one after the other, and its lists", () => {
  const contents = ["one", "two!", "three"].map((text) => Buffer.from(text));
  const refs = contents.map((bytes): ChunkRef => {
    return { id: digestOf(bytes) as string as ChunkId, length: bytes.length };
  });
  const frames = [refs.slice(0, 2), refs.slice(2)];
  const raws = [Buffer.concat(contents.slice(0, 2)), Buffer.concat(contents.slice(2))];
  const bodies = raws.map((raw) => compressFrame(raw, 1, "quick"));
  const lists = new Map([
    [digestOf("one file"), refs],
    [digestOf("another"), refs.toReversed()],
  ]);
  const packed = frames.map((chunks, n) => ({ length: bodies[n]?.length ?? 0, chunks }));
  const { id, size, pieces } = encodePack(packed, Buffer.concat(bodies), lists);
  const whole = Buffer.concat(pieces);
  assert.deepEqual([digestOf(whole), whole.length], [id, size]);
  const head = decodeHead(whole.subarray(0, headLength(whole)));
  assert.deepEqual([head.lists, head.size], [lists, size]);
  assert.deepEqual(head.frames.map(chunksOf), frames);
  const found: string[] = [];
  for (const frame of head.frames) {
    const raw = inflate(whole.subarray(frame.start, frame.start + frame.length), frame.raw);
    openFrame(frame, raw, (_, bytes) => found.push(bytes.toString()));
  }
  assert.deepEqual(found, ["one", "two!", "three"]);
  const none = encodePack([], Buffer.alloc(0), new Map());
  assert.equal(decodeHead(Buffer.concat(none.pieces)).size, none.size);
});
