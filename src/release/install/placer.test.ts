import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { digestOf, type ChunkId } from "../../lib/text/ids.ts";
import { Pauses } from "../../lib/async/pauses.ts";
import { noise, tempDir } from "../release.fixture.ts";
import type { ChunkRef } from "../tree/pack.ts";
import { Placer } from "./placer.ts";
import type { PlannedFile } from "./planned-file.ts";

const CHUNK = 64 * 1024;
const refOf = (bytes: Buffer): ChunkRef => ({
  id: digestOf(bytes) as string as ChunkId,
  length: bytes.length,
});

/** @param left what an earlier try left of the file */
async function expecting(t: TestContext, chunks: readonly Buffer[], left?: Buffer) {
  const placer = new Placer(new Float64Array(1));
  const content = Buffer.concat(chunks);
  const row = { kind: "f", path: "a", size: content.length, sha256: digestOf(content) } as const;
  const plan: PlannedFile = { row, index: 0, file: path.join(tempDir(t), "a"), time: 1_700_000_000_000 };
  const pauses = new Pauses(t.signal);
  if (left !== undefined) fs.writeFileSync(plan.file, left);
  await placer.expectChunks(plan, chunks.map(refOf), pauses);
  return { placer, content, plan, file: plan.file, pauses };
}

test("a chunk that is wanted in very many places comes to most of them at the end", async (t) => {
  const [often, other] = [noise(CHUNK, 1), noise(CHUNK, 3)];
  const chunks = [...Array.from({ length: 300 }, () => often), other, often];
  const { placer, content, file, pauses } = await expecting(t, chunks);
  placer.take(refOf(often), often);
  placer.take(refOf(other), other);
  assert.ok(fs.statSync(file).blocks * 512 < 100 * CHUNK);
  assert.deepEqual([...placer.wanted], []);
  await placer.end(pauses);
  placer.close();
  assert.ok(fs.readFileSync(file).equals(content));
  assert.equal(placer.inodes[0], fs.statSync(file).ino);
});

test("where the first chunk of a large file comes last, its digest is made at the end", async (t) => {
  const chunks = Array.from({ length: 200 }, (_, n) => noise(CHUNK, 2 * n + 1));
  const { placer, content, file, pauses } = await expecting(t, chunks);
  for (const chunk of chunks.toReversed()) placer.take(refOf(chunk), chunk);
  assert.equal(placer.inodes[0], 0);
  await placer.end(pauses);
  placer.close();
  assert.ok(fs.readFileSync(file).equals(content));
  assert.equal(placer.inodes[0], fs.statSync(file).ino);
});

test("what the disk lost of a chunk before it came to its other places is noticed", async (t) => {
  const often = noise(CHUNK, 1);
  const { placer, file, pauses } = await expecting(t, [
    ...Array.from({ length: 100 }, () => often),
    noise(CHUNK, 3),
  ]);
  placer.take(refOf(often), often);
  fs.writeFileSync(file, "lost");
  await assert.rejects(placer.end(pauses), { code: "CHUNK_CORRUPT" });
  placer.close();
});

test("zeros take no room on the disk, at a file's end neither, and come over what an earlier try left", async (t) => {
  const [zeros, other] = [Buffer.alloc(CHUNK), noise(CHUNK)];
  const many = Array.from({ length: 50 }, () => zeros);
  const chunks = [...many, other, ...many];
  for (const left of [undefined, Buffer.concat([noise(CHUNK, 3), zeros, zeros.subarray(9)])]) {
    const { placer, content, plan, file, pauses } = await expecting(t, chunks, left);
    placer.take(refOf(zeros), zeros);
    placer.take(refOf(other), other);
    await placer.end(pauses);
    const copy = { ...plan, file: `${file}2` };
    assert.ok(await placer.copyFrom(file, copy, pauses));
    placer.close();
    for (const [one, written] of [
      [file, left === undefined ? CHUNK : 4 * CHUNK],
      // Copies go by pieces of a MiB.
      [copy.file, 16 * CHUNK],
    ] as const) {
      assert.ok(fs.readFileSync(one).equals(content));
      assert.ok(fs.statSync(one).blocks * 512 <= written + 8192, `${fs.statSync(one).blocks} blocks`);
    }
  }
});
