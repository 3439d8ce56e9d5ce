import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { digestOf } from "../../lib/text/ids.ts";
import { Pauses } from "../../lib/async/pauses.ts";
import { noise, refOf, tempDir } from "../release.fixture.ts";
import { Placer } from "./placer.ts";
import type { PlannedFile } from "./planned-file.ts";

const CHUNK = 64 * 1024;
/**
 * @param left what an earlier try left of the file
 * @param content what the signed row says that it is
 */
async function expecting(
  t: TestContext,
  chunks: readonly Buffer[],
  left?: Buffer,
  content = Buffer.concat(chunks),
) {
  const placer = new Placer(new Float64Array(1));
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

test("a file is what its row says, or none: what a list of chunks says is nobody's word", async (t) => {
  const [one, two] = [noise(CHUNK, 1), noise(CHUNK, 3)];
  const wanted = Buffer.concat([two, one]);
  const { placer, file } = await expecting(t, [one, two], undefined, wanted);
  placer.take(refOf(one), one);
  assert.throws(() => placer.take(refOf(two), two), { code: "CHUNK_CORRUPT" });
  placer.close();
  assert.equal(fs.existsSync(file), false);
  assert.equal(placer.inodes[0], 0);
  for (const more of [[one], [one, two, one]])
    await assert.rejects(expecting(t, more, undefined, wanted), { code: "CHUNK_CORRUPT" });
});

test("a file is looked for no further than its row goes: what an earlier try left behind it goes", async (t) => {
  const [one, two] = [noise(CHUNK, 1), noise(CHUNK, 3)];
  const left = Buffer.concat([one, noise(3 * CHUNK, 5)]);
  const { placer, content, plan, file } = await expecting(t, [one, two], left);
  assert.deepEqual([...placer.wanted], [refOf(two).id]);
  placer.take(refOf(two), two);
  placer.close();
  assert.ok(fs.readFileSync(file).equals(content));
  const { ino, mode, mtimeMs } = fs.statSync(file);
  assert.deepEqual([ino, mode & 0o777, mtimeMs], [placer.inodes[0], 0o444, plan.time]);
});

test("of an earlier try a file is kept that is right, and none changed that another release has", async (t) => {
  const [one, two] = [noise(CHUNK, 1), noise(CHUNK, 3)];
  const { placer, content, plan, file, pauses } = await expecting(t, [one, two]);
  placer.close();
  const other = `${file}-of-another-release`;
  const lay = (bytes: Buffer, isShared: boolean): void => {
    for (const at of [file, other]) fs.rmSync(at, { force: true });
    fs.writeFileSync(file, bytes);
    if (isShared) fs.linkSync(file, other);
  };
  const wrong = Buffer.concat([two, one]);
  lay(content, false);
  assert.equal(await placer.isThere(plan, pauses), true);
  assert.equal(placer.inodes[0], fs.statSync(file).ino);
  lay(wrong, false);
  assert.equal(await placer.isThere(plan, pauses), false);
  assert.ok(fs.existsSync(file), "its chunks may be right");
  // Right content of another mode and time: to give it those would give them to the other release's too.
  for (const bytes of [content, wrong]) {
    lay(bytes, true);
    const before = fs.statSync(other);
    assert.equal(await placer.isThere(plan, pauses), false);
    assert.equal(fs.existsSync(file), false);
    assert.deepEqual([fs.statSync(other).mode, fs.statSync(other).mtimeMs], [before.mode, before.mtimeMs]);
  }
  lay(content, true);
  fs.chmodSync(file, 0o444);
  fs.utimesSync(file, plan.time / 1000, plan.time / 1000);
  assert.equal(await placer.isThere(plan, pauses), true);
  fs.rmSync(file);
  fs.symlinkSync(other, file);
  assert.equal(await placer.isThere(plan, pauses), false);
  assert.ok(!fs.existsSync(file) && fs.existsSync(other));
});

test("a copy of other content is none, and neither a copy nor a move takes another's place", async (t) => {
  const [one, two] = [noise(CHUNK, 1), noise(CHUNK, 3)];
  const { placer, content, plan, file, pauses } = await expecting(t, [one, two]);
  const [source, to] = [`${file}-source`, { ...plan, file: `${file}-copy` }];
  fs.writeFileSync(source, Buffer.concat([two, one]));
  assert.equal(await placer.copyFrom(source, to, pauses), false);
  assert.equal(fs.existsSync(to.file), false);
  fs.writeFileSync(source, content);
  assert.equal(await placer.copyFrom(source, to, pauses), true);
  await assert.rejects(placer.copyFrom(source, to, pauses), { code: "EEXIST" });
  assert.throws(() => placer.moveFrom(source, to), { code: "EEXIST", path: to.file });
  const link = `${file}-link`;
  fs.symlinkSync(source, link);
  await assert.rejects(placer.copyFrom(link, { ...plan, file: `${file}-other` }, pauses), { code: "ELOOP" });
  assert.throws(() => placer.moveFrom(link, { ...plan, file: `${file}-other` }), { code: "ELOOP" });
  placer.close();
});
