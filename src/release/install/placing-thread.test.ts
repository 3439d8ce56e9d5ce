/** Files put down by a second thread: frame by frame, and as a part of an install of many files. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { digestOf } from "../../lib/text/ids.ts";
import { Pauses } from "../../lib/async/pauses.ts";
import { makeWorld, noise, readTree, refOf, releaseId, tempDir, type Tree } from "../release.fixture.ts";
import { compressFrame, type FrameRef } from "../tree/pack.ts";
import { Placer } from "./placer.ts";
import type { PlannedFile } from "./planned-file.ts";
import { PlacingThread } from "./placing-thread.ts";
import { verifyInstall } from "./verify-install.ts";
import { childProgram } from "../../lib/testing/child.fixture.ts";

const TIME = 1_700_000_000_000;

interface Frame {
  readonly ref: FrameRef;
  readonly bytes: () => Buffer;
}

/** A frame of these contents, each one chunk; its head may lie about one. */
function frameOf(contents: readonly Buffer[], lie?: { readonly at: number; readonly is: Buffer }): Frame {
  const entries = Buffer.alloc(contents.length * 36);
  for (const [n, content] of contents.entries()) {
    entries.write(digestOf(lie?.at === n ? lie.is : content), n * 36, "hex");
    entries.writeUInt32LE(content.length, n * 36 + 32);
  }
  const raw = Buffer.concat(contents);
  const compressed = compressFrame(raw, contents.length, "quick");
  const ref = { start: 0, length: compressed.length, raw: raw.length, entries };
  // Given away when it is taken, as one that came from a depot.
  return { ref, bytes: () => Buffer.from(Uint8Array.from(compressed).buffer) };
}

class Stage {
  readonly dir: string;
  readonly placer = new Placer(new Float64Array(100));
  readonly thread = new PlacingThread(this.placer);
  #files = 0;

  constructor(t: TestContext) {
    this.dir = tempDir(t);
    atEnd(t, async () => await this.thread[Symbol.asyncDispose]());
  }

  plan(name: string, content: Buffer, kind: "f" | "x" = "f"): PlannedFile {
    const row = { kind, path: name, size: content.length, sha256: digestOf(content) };
    return { row, index: this.#files++, file: path.join(this.dir, name), time: TIME };
  }
}

test("whole files are put down with mode, time and inode, wherever the same content is wanted", async (t) => {
  const stage = new Stage(t);
  const [one, two, unwanted] = [Buffer.from("one"), Buffer.from("two"), Buffer.from("unwanted")];
  const plans = [stage.plan("a", one), stage.plan("b", one, "x"), stage.plan("c", two)];
  for (const plan of plans) stage.placer.expectWhole(plan);
  let written = 0;
  stage.placer.onWritten = (bytes) => (written += bytes);
  const frame = frameOf([one, unwanted, two]);
  await stage.thread.takeFrame(frame.ref, frame.bytes());
  assert.deepEqual(readTree(stage.dir), { a: "one", b: "x:one", c: "two" });
  for (const [n, { file }] of plans.entries()) {
    const { ino, mode, mtimeMs } = fs.statSync(file);
    assert.deepEqual([ino, mode & 0o777, mtimeMs], [stage.placer.inodes[n], n === 1 ? 0o555 : 0o444, TIME]);
  }
  assert.equal(written, 9);
  assert.deepEqual([...stage.placer.wanted], []);
});

for (const size of [100, 30_000]) {
  test(`a part of a larger file in the frame goes into it (${size} bytes)`, async (t) => {
    const stage = new Stage(t);
    const [small, head, tail] = [Buffer.from("small"), noise(size, 3), noise(size, 4)];
    const large = stage.plan("large", Buffer.concat([head, tail]));
    await stage.placer.expectChunks(large, [refOf(head), refOf(tail)], new Pauses(t.signal));
    // The same bytes are a file of their own, too.
    for (const plan of [stage.plan("small", small), stage.plan("tail", tail)]) stage.placer.expectWhole(plan);
    for (const frame of [frameOf([tail, small]), frameOf([head])]) {
      await stage.thread.takeFrame(frame.ref, frame.bytes());
    }
    assert.deepEqual(fs.readFileSync(large.file), Buffer.concat([head, tail]));
    assert.deepEqual(fs.readFileSync(path.join(stage.dir, "tail")), tail);
    assert.equal(fs.readFileSync(path.join(stage.dir, "small"), "utf8"), "small");
    assert.ok(stage.placer.inodes.subarray(0, 3).every((inode) => inode > 0));
  });
}

test("of a frame that is wrong nothing is put down, and all of it is wanted again", async (t) => {
  const stage = new Stage(t);
  const [one, two] = [Buffer.from("one"), Buffer.from("two")];
  for (const plan of [stage.plan("a", one), stage.plan("b", two)]) stage.placer.expectWhole(plan);
  const lying = frameOf([one, two], { at: 1, is: Buffer.from("else") });
  await assert.rejects(async () => await stage.thread.takeFrame(lying.ref, lying.bytes()), {
    code: "CHUNK_CORRUPT",
    data: { chunk: digestOf(Buffer.from("else")) },
  });
  const cut = frameOf([one, two]);
  const bytes = Buffer.from(Uint8Array.from(cut.bytes().subarray(1)).buffer);
  await assert.rejects(async () => await stage.thread.takeFrame(cut.ref, bytes), { code: "PACK_CORRUPT" });
  assert.deepEqual(readTree(stage.dir), {});
  const honest = frameOf([one, two]);
  await stage.thread.takeFrame(honest.ref, honest.bytes());
  assert.deepEqual(readTree(stage.dir), { a: "one", b: "two" });
});

test("what the system refuses is told with its code and path", async (t) => {
  const stage = new Stage(t);
  const one = Buffer.from("one");
  const plan = stage.plan("a", one);
  stage.placer.expectWhole(plan);
  fs.writeFileSync(plan.file, "there already");
  const frame = frameOf([one]);
  await assert.rejects(async () => await stage.thread.takeFrame(frame.ref, frame.bytes()), {
    code: "EEXIST",
    path: plan.file,
  });
  assert.equal(fs.readFileSync(plan.file, "utf8"), "there already");
});

test("it leaves frames to the other thread when it has enough to do", async (t) => {
  const stage = new Stage(t);
  const taken = Array.from({ length: 10 }, (_, n) => {
    const content = noise(200_000, n);
    stage.placer.expectWhole(stage.plan(String(n), content));
    const frame = frameOf([content]);
    return stage.thread.takeFrame(frame.ref, frame.bytes());
  });
  assert.notEqual(taken[0], undefined);
  assert.equal(taken.at(-1), undefined);
  await Promise.all(taken.filter((promise) => promise !== undefined));
});

test("when it ends, what it had is wanted again, and it takes nothing more", async (t) => {
  const stage = new Stage(t);
  const one = Buffer.from("one");
  stage.placer.expectWhole(stage.plan("a", one));
  const frame = frameOf([one]);
  const taken = stage.thread.takeFrame(frame.ref, frame.bytes());
  const ended = stage.thread[Symbol.asyncDispose]();
  await assert.rejects(async () => await taken, { code: "IO" });
  await ended;
  assert.equal(stage.thread.takeFrame(frame.ref, frame.bytes()), undefined);
  assert.deepEqual([...stage.placer.wanted], [refOf(one).id]);
});

/** More files than are worth a second thread, of every kind. */
const MANY: Tree = {
  ...Object.fromEntries(
    Array.from({ length: 2600 }, (_, n) => [`d${n % 20}/f${n}`, `${n % 7 === 0 ? "x:" : ""}${n % 500}`]),
  ),
  empty: "",
  link: "l:empty",
  "large.bin": noise(1_500_000, 5),
};

for (const [point, least] of [
  ["install.local", 0],
  ["install.placed:200", 1],
] as const) {
  test(`an install of many files is made whole after a kill at ${point}`, async (t) => {
    const world = makeWorld(t);
    const published = await world.publish(MANY);
    const words = ["install", path.join(world.dir, "depot"), world.revs, "1", JSON.stringify(published)];
    const script = childProgram(import.meta.dirname, "../release-run.child.ts");
    const env = { ...process.env, SKEIN_FAULT: point };
    assert.equal(spawnSync(process.execPath, [script, ...words], { env }).signal, "SIGKILL");
    const { dir, resumed } = await world.install(1, published);
    assert.ok(resumed >= least, "what was put down before is kept");
    assert.deepEqual(readTree(dir), readTree(path.join(world.dir, "source-0")));
    assert.deepEqual(await verifyInstall(world.revs, releaseId(1), published.tree, t.signal), []);
  });
}
