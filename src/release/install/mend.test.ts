import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { atEnd } from "../../lib/at-end.fixture.ts";
import type { Published } from "../publish/publish.ts";
import { mendInstall, type Mending, type MendOptions } from "./mend.ts";
import { makeWorld, noise, readTree, releaseId, type Tree, type World } from "../release.fixture.ts";
import { verifyInstall } from "./verify-install.ts";
import { PATIENCE_MS } from "../../lib/patience.fixture.ts";

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
    const script = path.join(import.meta.dirname, "../release-run.fixture.ts");
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
