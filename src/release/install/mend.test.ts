import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import type { Published } from "../publish/publish.ts";
import { mendInstall, type Mending, type MendOptions } from "./mend.ts";
import { makeWorld, noise, readTree, releaseId, type Tree, type World } from "../release.fixture.ts";
import { listInstalls } from "../record/install-record.ts";
import { verifyInstall } from "./verify-install.ts";
import { PATIENCE_MS } from "../../lib/testing/patience.fixture.ts";
import { childProgram } from "../../lib/testing/child.fixture.ts";

const OLD: Tree = {
  "a/one.txt": "one",
  "a/link": "l:one.txt",
  "a/deep/two.txt": "two",
  "big.bin": noise(2_500_000),
  "run.sh": "x:#!/bin/sh\n",
  "same.bin": noise(400_000, 5),
};
const NEW: Tree = { ...OLD, "a/one.txt": "one, changed" };

/** Two releases that share all but one file. */
async function twoReleases(world: World): Promise<readonly [Published, Published]> {
  const first = await world.publish(OLD);
  const second = await world.publish(NEW, { previous: first });
  await world.install(1, first);
  await world.install(2, second);
  return [first, second];
}

async function mend(
  world: World,
  n: number,
  tree: Published,
  more: Partial<MendOptions> = {},
): Promise<Mending> {
  return await mendInstall({
    release: releaseId(n),
    tree,
    depots: [world.depot],
    revs: world.revs,
    full: false,
    signal: AbortSignal.timeout(PATIENCE_MS),
    ...more,
  });
}

const at = (world: World, n: number, file: string): string => path.join(world.revs, releaseId(n), file);

/** As a failing disk does it: the file's inode, size and time stay. */
function flipByte(file: string): void {
  const { mtimeMs } = fs.statSync(file);
  const bytes = fs.readFileSync(file);
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
  fs.chmodSync(file, 0o644);
  fs.writeFileSync(file, bytes);
  fs.chmodSync(file, file.endsWith(".sh") ? 0o555 : 0o444);
  fs.utimesSync(file, mtimeMs / 1000, mtimeMs / 1000);
}

test("what was mended is as late as it was, for gc goes by that", async (t) => {
  const world = makeWorld(t);
  const [first] = await twoReleases(world);
  flipByte(at(world, 1, "same.bin"));
  assert.equal((await mend(world, 1, first)).files, 1);
  assert.deepEqual(await listInstalls(world.revs), [releaseId(2), releaseId(1)]);
});

test("a flipped byte is mended wherever the file is shared, while it is open, and the rest is not fetched", async (t) => {
  const world = makeWorld(t);
  const [first, second] = await twoReleases(world);
  const open = fs.openSync(at(world, 2, "same.bin"), "r");
  atEnd(t, () => fs.closeSync(open));
  flipByte(at(world, 2, "same.bin"));
  const damaged = fs.readFileSync(open);
  const mending = await mend(world, 2, second);
  assert.deepEqual(
    [mending.differences, mending.files, mending.shared],
    [[{ path: "same.bin", reason: "content" }], 1, 1],
  );
  assert.ok(mending.bytesFetched < 1_200_000, `${mending.bytesFetched}`);
  assert.deepEqual(fs.readFileSync(at(world, 2, "same.bin")), OLD["same.bin"]);
  assert.deepEqual(fs.readFileSync(at(world, 1, "same.bin")), OLD["same.bin"]);
  assert.equal(fs.statSync(at(world, 1, "same.bin")).ino, fs.statSync(at(world, 2, "same.bin")).ino);
  const still = Buffer.alloc(damaged.length);
  fs.readSync(open, still, 0, still.length, 0);
  assert.deepEqual(still, damaged, "whoever has it open keeps what it had");
  assert.deepEqual(await verifyInstall(world.revs, releaseId(1), first.tree, t.signal), []);
  const third = await world.publish({ ...NEW, "b.txt": "b" }, { previous: second });
  const installed = await world.install(3, third);
  assert.equal(installed.copied, 0, "what was mended is linked by later releases");
});

test("a file that was laid over another release's own leaves that as it is", async (t) => {
  const world = makeWorld(t);
  const [first, second] = await twoReleases(world);
  for (const [mine, other] of [
    ["run.sh", "a/one.txt"],
    ["a/one.txt", "same.bin"],
    ["big.bin", "same.bin"],
  ] as const) {
    fs.rmSync(at(world, 1, mine));
    fs.linkSync(at(world, 2, other), at(world, 1, mine));
  }
  const { files, shared } = await mend(world, 1, first);
  assert.deepEqual([files, shared], [3, 0]);
  for (const [n, { tree }] of [first, second].entries())
    assert.deepEqual(await verifyInstall(world.revs, releaseId(n + 1), tree, t.signal), []);
});

test("every kind of difference is set right", async (t) => {
  const world = makeWorld(t);
  const first = await world.publish(OLD);
  const { dir } = await world.install(1, first);
  const good = readTree(dir);
  fs.rmSync(at(world, 1, "big.bin"));
  fs.chmodSync(at(world, 1, "run.sh"), 0o777);
  fs.writeFileSync(at(world, 1, "a/more.txt"), "more");
  fs.mkdirSync(at(world, 1, "b/c"), { recursive: true });
  fs.rmSync(at(world, 1, "a/link"));
  fs.symlinkSync("/etc/passwd", at(world, 1, "a/link"));
  fs.rmSync(at(world, 1, "a/one.txt"));
  fs.mkdirSync(at(world, 1, "a/one.txt/x"), { recursive: true });
  // Behind the link everything looks right until it is a folder again.
  fs.renameSync(at(world, 1, "a/deep"), path.join(world.dir, "elsewhere"));
  fs.symlinkSync(path.join(world.dir, "elsewhere"), at(world, 1, "a/deep"));
  const { differences } = await mend(world, 1, first);
  assert.deepEqual(
    new Set(differences.map((one) => `${one.path} ${one.reason}`)),
    new Set([
      "a/deep kind",
      "a/deep/two.txt missing",
      "a/link link",
      "a/more.txt added",
      "a/one.txt kind",
      "a/one.txt/x added",
      "b added",
      "big.bin missing",
      "run.sh mode",
    ]),
  );
  assert.deepEqual(readTree(dir), good);
  assert.ok(fs.existsSync(path.join(world.dir, "elsewhere/two.txt")), "what a link leads to is left alone");
  assert.deepEqual(await mend(world, 1, first, { depots: [] }), {
    differences: [],
    files: 0,
    shared: 0,
    bytesFetched: 0,
    sources: {},
  });
});

test("a folder that became a file, a link to itself or a copy of what its link led to is set right", async (t) => {
  const world = makeWorld(t);
  const published = await world.publish({ ...OLD, "b/c/three.txt": "three", d: "l:a", e: "l:b" });
  const { dir } = await world.install(1, published);
  const good = readTree(dir);
  fs.renameSync(at(world, 1, "a"), path.join(world.dir, "elsewhere"));
  fs.writeFileSync(at(world, 1, "a"), "a file");
  fs.rmSync(at(world, 1, "d"));
  fs.cpSync(path.join(world.dir, "elsewhere"), at(world, 1, "d"), { recursive: true });
  fs.rmSync(at(world, 1, "b"), { recursive: true });
  fs.symlinkSync("b", at(world, 1, "b"));
  const { differences } = await mend(world, 1, published);
  assert.deepEqual(readTree(dir), good);
  const named = differences.map((one) => `${one.path} ${one.reason}`);
  assert.deepEqual(new Set(named), new Set(FOLDERS_GONE));
  assert.equal(
    named.length,
    FOLDERS_GONE.length,
    "once each: nothing was removed behind the link that was laid",
  );
});

const FOLDERS_GONE = [
  "a kind",
  "a/deep missing",
  "a/deep/two.txt missing",
  "a/link missing",
  "a/one.txt missing",
  "b kind",
  "b/c missing",
  "b/c/three.txt missing",
  "d kind",
  "d/deep added",
  "d/link added",
  "d/one.txt added",
];

test("a folder's mode counts, also that of the release itself and one that shuts its owner out", async (t) => {
  const world = makeWorld(t);
  const published = await world.publish(OLD);
  const { dir } = await world.install(1, published);
  const modeAt = (file: string): number => fs.statSync(at(world, 1, file)).mode & 0o777;
  const right = ["", "a", "a/deep"].map(modeAt);
  fs.chmodSync(at(world, 1, "same.bin"), 0);
  fs.chmodSync(at(world, 1, "a/deep"), 0o700);
  fs.chmodSync(at(world, 1, "a"), 0);
  fs.chmodSync(dir, 0o777);
  const { differences } = await mend(world, 1, published, { depots: [] });
  const named = differences.map((one) => `${one.path} ${one.reason}`);
  assert.deepEqual(named.toSorted(), [". mode", "a mode", "a/deep mode", "same.bin mode"]);
  assert.deepEqual(["", "a", "a/deep"].map(modeAt), right);
  assert.deepEqual(await verifyInstall(world.revs, releaseId(1), published.tree, t.signal), []);
});

test("a lost link to what the app may write is laid again; what it put there itself stays", async (t) => {
  const world = makeWorld(t);
  const published = await world.publish({ ...OLD, "tmp/.keep": "", "log/.keep": "" });
  const data = path.join(world.dir, "data");
  const writable = new Map(["tmp", ".next/deep/cache", "log"].map((one) => [one, data]));
  await world.install(1, published, { writable });
  fs.rmSync(at(world, 1, "tmp"));
  fs.rmSync(at(world, 1, ".next"), { recursive: true });
  fs.rmSync(at(world, 1, "log"));
  fs.mkdirSync(at(world, 1, "log"));
  fs.writeFileSync(at(world, 1, "log/its.own"), "1");
  const { differences } = await mend(world, 1, published, { depots: [] });
  assert.deepEqual(
    differences.map((one) => `${one.path} ${one.reason}`),
    ["tmp missing", ".next/deep/cache missing"],
  );
  for (const one of ["tmp", ".next/deep/cache"]) assert.equal(fs.readlinkSync(at(world, 1, one)), data);
  assert.equal(fs.readFileSync(at(world, 1, "log/its.own"), "utf8"), "1");
});

test("a folder that leads to what the app may write is no link to elsewhere", async (t) => {
  const world = makeWorld(t);
  const published = await world.publish(OLD);
  const data = path.join(world.dir, "data");
  await world.install(1, published, { writable: new Map([[".next/deep/cache", data]]) });
  const elsewhere = path.join(world.dir, "elsewhere");
  fs.renameSync(at(world, 1, ".next/deep"), elsewhere);
  fs.symlinkSync(elsewhere, at(world, 1, ".next/deep"));
  await mend(world, 1, published, { depots: [] });
  assert.ok(fs.lstatSync(at(world, 1, ".next/deep")).isDirectory());
  assert.equal(fs.readlinkSync(at(world, 1, ".next/deep/cache")), data);
  assert.deepEqual(fs.readdirSync(elsewhere), ["cache"], "nothing is taken from there");
});

test("what another release has is not fetched, and a mode needs no depot", async (t) => {
  const world = makeWorld(t);
  const [, second] = await twoReleases(world);
  fs.rmSync(at(world, 2, "big.bin"));
  assert.ok((await mend(world, 2, second)).bytesFetched < 2000);
  fs.chmodSync(at(world, 2, "run.sh"), 0o755);
  assert.equal((await mend(world, 2, second, { depots: [] })).files, 0);
  assert.equal(fs.statSync(at(world, 2, "run.sh")).mode & 0o777, 0o555);
});

test("a full mending fetches everything and trusts nothing that is here", async (t) => {
  const world = makeWorld(t);
  const [, second] = await twoReleases(world);
  const inode = (file: string): number => fs.statSync(at(world, 2, file)).ino;
  const before = ["big.bin", "same.bin", "run.sh"].map(inode);
  const mending = await mend(world, 2, second, { full: true });
  assert.deepEqual([mending.differences, mending.files], [[], 5]);
  assert.ok(mending.bytesFetched > 2_900_000);
  for (const [i, file] of ["big.bin", "same.bin", "run.sh"].entries())
    assert.notEqual(inode(file), before[i]);
  assert.deepEqual(await verifyInstall(world.revs, releaseId(2), second.tree, t.signal), []);
});

for (const point of ["mend.filled", "mend.shared", "mend.placed"]) {
  test(`a mending killed at ${point} leaves no release damaged once it was run again`, async (t) => {
    const world = makeWorld(t);
    const [first, second] = await twoReleases(world);
    flipByte(at(world, 2, "same.bin"));
    fs.rmSync(at(world, 2, "a/deep/two.txt"));
    const script = childProgram(import.meta.dirname, "../release-run.child.ts");
    const args = [script, "mend", path.join(world.dir, "depot"), world.revs, "2", JSON.stringify(second)];
    const killed = spawnSync(process.execPath, args, { env: { ...process.env, SKEIN_FAULT: point } });
    assert.equal(killed.signal, "SIGKILL");
    await mend(world, 2, second);
    for (const [n, tree] of [first, second].entries()) {
      assert.deepEqual(await verifyInstall(world.revs, releaseId(n + 1), tree.tree, t.signal), []);
    }
    assert.deepEqual(
      fs.readdirSync(path.join(world.revs, ".install")).filter((name) => !name.endsWith(".record")),
      [],
    );
  });
}
