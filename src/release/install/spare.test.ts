import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { test, type TestContext } from "node:test";
import * as fc from "fast-check";
import { readRecord, spareDir, spareStage, stagingDir } from "../record/install-record.ts";
import type { Published } from "../publish/publish.ts";
import { makeWorld, noise, readTree, releaseId, type Tree, type World } from "../release.fixture.ts";
import { listLeft, removeInstall } from "./remove-install.ts";
import { makeSpare, type SpareOptions } from "./spare.ts";
import { verifyInstall } from "./verify-install.ts";
import { childProgram } from "../../lib/testing/child.fixture.ts";

const ONE = releaseId(1);
const TWO = releaseId(2);

const BIG = noise(120_000, 4);
const OLD: Tree = {
  "bin/start": "x:#!/bin/sh\n",
  "a/one.txt": "one",
  "a/two.txt": "two",
  "a/b/three.txt": "three",
  "gone/deep/file.txt": "gone",
  "big.bin": BIG,
  link: "l:a/one.txt",
  turned: "l:a/two.txt",
  empty: "",
  "hollow/empty": "",
  "void/folder": null,
};
const NEW: Tree = {
  "bin/start": "x:#!/bin/sh\n",
  "a/one.txt": "one",
  "a/two.txt": "x:two",
  "a/b": "a file now",
  "a-b/four.txt": "four",
  "big.bin": BIG,
  link: "l:a/one.txt",
  "turned/into/folder.txt": "folder",
  empty: "",
  "hollow/empty": "",
};

async function made(t: TestContext, world: World, n: number, change: Partial<SpareOptions> = {}) {
  return await makeSpare({
    revs: world.revs,
    release: releaseId(n),
    leastFiles: 0,
    signal: t.signal,
    ...change,
  });
}

/** Kind, mode, time, inode's share and content of all that lies in a folder. */
function look(dir: string): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const entry of fs.readdirSync(dir, { recursive: true, withFileTypes: true })) {
    const at = path.join(entry.parentPath, entry.name);
    const stat = fs.lstatSync(at);
    const mode = stat.mode.toString(8);
    found[path.relative(dir, at)] = entry.isFile() ? [mode, Math.round(stat.mtimeMs), stat.size] : [mode];
  }
  return { ...found, ...readTree(dir) };
}

async function recordOf(revs: string, n: number) {
  const record = await readRecord(revs, releaseId(n));
  assert.ok(record);
  const { inodes, ...rest } = record;
  const dir = path.join(revs, releaseId(n));
  const files = rest.rows.filter(({ kind }) => kind === "f" || kind === "x");
  const right = files.map(({ path: at }) => fs.lstatSync(path.join(dir, at)).ino);
  assert.deepEqual([...inodes], right);
  return rest;
}

/** Installs the second tree after the first one, through a spare and without: both are the same. */
async function compareInstalls(t: TestContext, trees: readonly [Tree, Tree]): Promise<void> {
  const world = makeWorld(t);
  const first = await world.publish(trees[0]);
  const second = await world.publish(trees[1], { previous: first, now: 1_800_000_000_000 });
  const update = async (revs: string, prepare: () => Promise<void>): Promise<unknown> => {
    await world.install(1, first, { revs });
    await prepare();
    const { dir, linked } = await world.install(2, second, { revs });
    assert.deepEqual(await verifyInstall(revs, TWO, second.tree, t.signal), []);
    assert.deepEqual(await verifyInstall(revs, ONE, first.tree, t.signal), []);
    return { linked, tree: look(dir), record: await recordOf(revs, 2) };
  };
  const { revs } = world;
  const spare = spareDir(revs, ONE);
  let folder = 0;
  const through = await update(revs, async () => {
    assert.equal(await made(t, world, 1), true);
    assert.deepEqual(readTree(spare), readTree(path.join(revs, ONE)));
    folder = fs.lstatSync(spare).ino;
  });
  assert.equal(fs.existsSync(spare), false);
  assert.equal(fs.lstatSync(path.join(revs, TWO)).ino, folder, "the spare became the release");
  assert.deepEqual(through, await update(`${revs}-without`, async () => undefined));
  fs.rmSync(world.dir, { recursive: true });
}

test("an install through a spare ends as one without does", async (t) => {
  await compareInstalls(t, [OLD, NEW]);
  await compareInstalls(t, [NEW, OLD]);
  await compareInstalls(t, [OLD, OLD]);
});

test("any two trees: an install through a spare of the first ends as one without does (long)", async (t) => {
  const name = fc.constantFrom("a", "b", "a-b", "c", "é");
  const at = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join("/"));
  const content = fc.oneof(
    fc.constantFrom("", "one", "two", "x:one", "x:two", "l:nowhere", "l:elsewhere", null),
    fc.constant(BIG),
  );
  const tree = fc
    .uniqueArray(fc.tuple(at, content), { selector: ([path]) => path, maxLength: 14 })
    .map((entries) => {
      // Below what is no folder nothing can be made.
      const kept = entries.filter(([path], n) =>
        entries.every(
          ([other], m) => m >= n || !(path.startsWith(`${other}/`) || other.startsWith(`${path}/`)),
        ),
      );
      return Object.fromEntries(kept);
    });
  await fc.assert(
    fc.asyncProperty(tree, tree, async (one, two) => await compareInstalls(t, [one, two])),
    // Each run flushes the disk several times.
    { numRuns: 12 },
  );
});

const bump = (file: string): void => {
  fs.chmodSync(file, 0o644);
  fs.writeFileSync(file, "ONE");
  fs.chmodSync(file, 0o444);
};

for (const [what, damage] of Object.entries({
  "a file was written to under the release": (release: string) => bump(path.join(release, "a/one.txt")),
  "a file was written to under the spare": (_: string, spare: string) => bump(path.join(spare, "a/one.txt")),
  "a file was replaced in the spare": (_: string, spare: string) => {
    fs.rmSync(path.join(spare, "a/one.txt"));
    fs.writeFileSync(path.join(spare, "a/one.txt"), "ONE", { mode: 0o444 });
  },
  "a file may be run now": (release: string) => fs.chmodSync(path.join(release, "a/one.txt"), 0o555),
  "a file came into the spare": (_: string, spare: string) =>
    fs.writeFileSync(path.join(spare, "a/stray"), "stray"),
  "a file came into the spare's uppermost folder": (_: string, spare: string) =>
    fs.writeFileSync(path.join(spare, "stray"), "stray"),
  "a file went from the spare": (_: string, spare: string) => fs.rmSync(path.join(spare, "a/one.txt")),
  "a link leads elsewhere": (_: string, spare: string) => {
    fs.rmSync(path.join(spare, "link"));
    fs.symlinkSync("/etc/passwd", path.join(spare, "link"));
  },
  "a folder is open to everybody": (_: string, spare: string) => fs.chmodSync(path.join(spare, "a"), 0o777),
  "the uppermost folder is open to everybody": (_: string, spare: string) => fs.chmodSync(spare, 0o777),
} satisfies Record<string, (release: string, spare: string) => void>)) {
  test(`nothing of it gets into an install: ${what}`, async (t) => {
    const world = makeWorld(t);
    const first = await world.publish(OLD);
    await world.install(1, first);
    await made(t, world, 1);
    damage(path.join(world.revs, ONE), spareDir(world.revs, ONE));
    const second = await world.publish(NEW, { previous: first });
    const { dir } = await world.install(2, second);
    assert.deepEqual(await verifyInstall(world.revs, TWO, second.tree, t.signal), []);
    assert.equal(fs.statSync(path.join(dir, "a")).mode & 0o7777, 0o755);
    await recordOf(world.revs, 2);
  });
}

test("nothing that came into a spare without folders gets into an install", async (t) => {
  const world = makeWorld(t);
  const first = await world.publish({ "a.txt": "a" });
  const second = await world.publish({ "b.txt": "b" }, { previous: first });
  await world.install(1, first);
  await made(t, world, 1);
  fs.writeFileSync(path.join(spareDir(world.revs, ONE), "stray"), "stray");
  const { dir } = await world.install(2, second);
  assert.deepEqual(readTree(dir), { "b.txt": "b" });
});

const asRoot = { skip: process.getuid?.() !== 0 && "needs root" };

test("what was given away is nobody else's in the next install", asRoot, async (t) => {
  const { world, first, second } = await two(t);
  const owners = (n: number): Set<number> => {
    const dir = path.join(world.revs, releaseId(n));
    const all = fs.readdirSync(dir, { recursive: true, encoding: "utf8" });
    const stats = ["", ...all].map((at) => fs.lstatSync(path.join(dir, at)));
    return new Set(stats.filter((stat) => !stat.isSymbolicLink()).map(({ uid }) => uid));
  };
  // A hook gave a release to its app.
  spawnSync("chown", ["-R", "12345:12345", path.join(world.revs, ONE)]);
  await removeInstall(world.revs, ONE, { revs: world.revs, release: TWO, leastFiles: 0 });
  await made(t, world, 2);
  await world.install(3, first);
  assert.deepEqual(owners(3), new Set([0]));
  await made(t, world, 3);
  fs.chownSync(path.join(spareDir(world.revs, releaseId(3)), "a/b"), 12345, 12345);
  await world.install(4, first);
  assert.deepEqual(owners(4), new Set([0]));
  assert.deepEqual(await verifyInstall(world.revs, releaseId(4), first.tree, t.signal), []);
  assert.deepEqual(await verifyInstall(world.revs, TWO, second.tree, t.signal), []);
});

test("a link in place of a release's folder, or of what is to be a spare, is not followed", async (t) => {
  const { world } = await two(t);
  const outside = path.join(world.dir, "outside");
  fs.mkdirSync(outside);
  fs.writeFileSync(path.join(outside, "precious"), "precious");
  fs.chmodSync(outside, 0o755);
  fs.rmSync(path.join(world.revs, ONE), { recursive: true });
  fs.symlinkSync(outside, path.join(world.revs, ONE));
  await removeInstall(world.revs, ONE, { revs: world.revs, release: TWO, leastFiles: 0 });
  await made(t, world, 2);
  fs.renameSync(spareDir(world.revs, TWO), path.join(world.dir, "aside"));
  fs.symlinkSync(outside, spareStage(world.revs, TWO));
  await made(t, world, 2);
  assert.ok(fs.lstatSync(spareDir(world.revs, TWO)).isDirectory());
  assert.equal(fs.lstatSync(outside).mode & 0o777, 0o755);
  assert.deepEqual(readTree(outside), { precious: "precious" });
});

test("a release whose folders are files or links now still has a spare and a successor", async (t) => {
  const world = makeWorld(t);
  const first = await world.publish(OLD);
  const second = await world.publish({ ...OLD, "a/one.txt": "ONE" }, { previous: first });
  const { dir } = await world.install(1, first);
  for (const at of ["a", "hollow"]) fs.rmSync(path.join(dir, at), { recursive: true });
  fs.writeFileSync(path.join(dir, "a"), "");
  fs.symlinkSync("hollow", path.join(dir, "hollow"));
  assert.equal(await made(t, world, 1), true);
  await world.install(2, second);
  assert.deepEqual(await verifyInstall(world.revs, TWO, second.tree, t.signal), []);
});

test("a folder that leaves the tree stays where an app's own folder lies in it", async (t) => {
  const world = makeWorld(t);
  const writable = new Map([["cache/of/app", path.join(world.dir, "data")]]);
  const first = await world.publish({ "cache/of/release": "1", "app.js": "1" });
  const second = await world.publish({ "app.js": "2" }, { previous: first });
  await world.install(1, first, { writable });
  await made(t, world, 1);
  const { dir } = await world.install(2, second, { writable });
  assert.deepEqual(await verifyInstall(world.revs, TWO, second.tree, t.signal), []);
  assert.deepEqual(fs.readdirSync(path.join(dir, "cache/of")), ["app"]);
});

test("a spare is used only where the app's own folders are laid as they will be", async (t) => {
  const world = makeWorld(t);
  const outside = path.join(world.dir, "data");
  fs.mkdirSync(outside);
  fs.writeFileSync(path.join(outside, "precious"), "precious");
  const first = await world.publish({ "tmp/kept": "of the release", "app.js": "1" });
  const second = await world.publish({ "app.js": "2" }, { previous: first });
  const writable = new Map([["tmp", outside]]);
  await world.install(1, first, { writable });
  await made(t, world, 1);
  const { dir } = await world.install(2, second, { writable });
  assert.equal(fs.existsSync(spareDir(world.revs, ONE)), false);
  assert.equal(fs.readFileSync(path.join(dir, "tmp/precious"), "utf8"), "precious");
  await made(t, world, 2);
  const third = await world.install(3, first);
  assert.equal(fs.existsSync(spareDir(world.revs, TWO)), true, "it was for other folders");
  assert.equal(fs.readFileSync(path.join(third.dir, "tmp/kept"), "utf8"), "of the release");
  assert.equal(fs.readFileSync(path.join(outside, "precious"), "utf8"), "precious");
});

/** Two releases installed. */
async function two(t: TestContext): Promise<{ world: World; first: Published; second: Published }> {
  const world = makeWorld(t);
  const first = await world.publish(OLD);
  const second = await world.publish(NEW, { previous: first });
  await world.install(1, first);
  await world.install(2, second);
  return { world, first, second };
}

test("making a spare gives way, and goes on with what it had", async (t) => {
  const world = makeWorld(t);
  const many = Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`a/${n}.txt`, `${n}`]));
  await world.install(1, await world.publish(many));
  const stop = new AbortController();
  const rest = async (): Promise<void> => stop.abort(new Error("an order came"));
  await assert.rejects(made(t, world, 1, { signal: stop.signal, rest }), { message: "an order came" });
  assert.equal(fs.existsSync(spareDir(world.revs, ONE)), false, "what is not whole has no spare's name");
  const begun = path.join(spareStage(world.revs, ONE), "a");
  const inode = fs.lstatSync(begun).ino;
  assert.ok(fs.readdirSync(begun).length < 100);
  fs.writeFileSync(path.join(begun, "stray"), "");
  assert.equal(await made(t, world, 1), true);
  const spare = spareDir(world.revs, ONE);
  assert.equal(fs.lstatSync(path.join(spare, "a")).ino, inode);
  assert.deepEqual(readTree(spare), { a: null, ...many });
});

test("a release that goes becomes the spare, and so does another's spare", async (t) => {
  const { world, first } = await two(t);
  const old = fs.lstatSync(path.join(world.revs, ONE, "a")).ino;
  fs.writeFileSync(path.join(world.revs, ONE, "a/stray"), "laid by hand");
  await removeInstall(world.revs, ONE, { revs: world.revs, release: TWO, leastFiles: 0 });
  assert.deepEqual(await listLeft(world.revs), []);
  assert.equal(await made(t, world, 2), true);
  const spare = spareDir(world.revs, TWO);
  assert.equal(fs.lstatSync(path.join(spare, "a")).ino, old);
  assert.deepEqual(readTree(spare), readTree(path.join(world.revs, TWO)));
  await world.install(1, first);
  await made(t, world, 1);
  assert.equal(await made(t, world, 2), true);
  assert.equal(fs.existsSync(spareDir(world.revs, ONE)), false, "there is one at a time");
  assert.deepEqual(readTree(spare), readTree(path.join(world.revs, TWO)));
});

/** Installs 200 files on a disk of its own, and makes the spare. @returns what that said, and what is beside the record */
async function madeOn(t: TestContext, content: string, inodes: number): Promise<readonly string[]> {
  const world = makeWorld(t);
  const { revs } = world;
  const tree = Object.fromEntries(Array.from({ length: 200 }, (_, n) => [`${n}`, content]));
  const published = JSON.stringify(await world.publish(tree));
  const script = childProgram(import.meta.dirname, "../release-run.child.ts");
  const run = (step: string): string => {
    const words = [process.execPath, script, step, path.join(world.dir, "depot"), revs, "1", published];
    return words.map((word) => `'${word}'`).join(" ");
  };
  const mount = `mount -t tmpfs -o size=64m,nr_inodes=${inodes} x '${revs}'`;
  const command = [mount, `${run("install")} >&2`, run("spare"), "echo", `ls '${revs}/.install'`].join(
    " && ",
  );
  fs.mkdirSync(revs);
  const { stdout, stderr } = spawnSync("unshare", ["-m", "sh", "-c", command], { encoding: "utf8" });
  const [said = "", record, ...left] = stdout.trim().split("\n");
  assert.equal(record, `${ONE}.record`, stderr);
  return [said, ...left];
}

const mounting = {
  skip: spawnSync("unshare", ["-m", "mount", "-t", "tmpfs", "x", "/mnt"]).status !== 0 && "cannot mount",
};

test("a spare is not made of a disk's last inodes (long)", mounting, async (t) => {
  assert.deepEqual(await madeOn(t, "", 1000), ["true", `${ONE}.spare`]);
  assert.deepEqual(await madeOn(t, "", 300), ["false"]);
});

test("a disk that turns out to be full keeps nothing of a spare", mounting, async (t) => {
  // Here a link takes an inode, too, which is not foreseen.
  assert.deepEqual(await madeOn(t, "text", 300), ["false"]);
});

test("a small release has no spare, and one that is removed takes its own along", async (t) => {
  const { world } = await two(t);
  await made(t, world, 1);
  assert.equal(await made(t, world, 2, { leastFiles: 10_000 }), false);
  assert.equal(fs.existsSync(spareDir(world.revs, ONE)), false, "of what was current it is of no use");
  await made(t, world, 2);
  await removeInstall(world.revs, TWO);
  assert.equal(fs.existsSync(spareDir(world.revs, TWO)), false);
  assert.equal(fs.existsSync(stagingDir(world.revs, TWO)), false);
});
