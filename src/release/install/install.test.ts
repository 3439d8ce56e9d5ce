import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { verifyInstall } from "./verify-install.ts";
import type { Depot, DepotReader } from "../../depot/seam/depot.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { listInstalls } from "../record/install-record.ts";
import { makeWorld, noise, readTree, releaseId, type Tree } from "../release.fixture.ts";

const TREE = {
  "bin/start": "x:#!/bin/sh\necho hello\n",
  "empty.txt": "",
  "folder/without/files": null,
  "data/large.bin": noise(3_000_000),
  "readme.md": "# hello\n",
  "node_modules/a": "l:.pnpm/a",
  "node_modules/.pnpm/a/index.js": "module.exports = 1;\n",
};

test("what is published is what is installed, on every node alike", async (t) => {
  const world = makeWorld(t);
  const published = await world.publish(TREE);
  const installed = await world.install(1, published);
  assert.equal(installed.dir, path.join(world.revs, "1".padStart(32, "0")));
  const expected = {
    ...TREE,
    bin: null,
    data: null,
    folder: null,
    "folder/without": null,
    node_modules: null,
    "node_modules/.pnpm": null,
    "node_modules/.pnpm/a": null,
  };
  assert.deepEqual(readTree(installed.dir), expected);
  const stat = fs.statSync(path.join(installed.dir, "readme.md"));
  assert.equal(stat.mode & 0o777, 0o444);
  assert.equal(fs.statSync(path.join(installed.dir, "bin/start")).mode & 0o777, 0o555);
  assert.equal(Math.round(stat.mtimeMs), 1_700_000_000_000);
});

test("an update moves what changed, links what did not, and keeps its time", async (t) => {
  const world = makeWorld(t);
  const first = await world.publish(TREE);
  const one = await world.install(1, first);
  const large = noise(3_000_000);
  large[1_500_000] = 7;
  const tree = { ...TREE, "readme.md": "# new\n", "data/large.bin": large };
  const second = await world.publish(tree, { previous: first, now: 1_800_000_000_000 });
  assert.ok(second.newBytes < 800_000, `${second.newBytes} bytes are new`);
  const two = await world.install(2, second);
  assert.deepEqual(fs.readFileSync(path.join(two.dir, "data/large.bin")), large);
  assert.equal(two.linked, 2);
  assert.ok(two.bytesFetched < 800_000, `${two.bytesFetched} bytes fetched`);
  const at = (dir: string, file: string): fs.Stats => fs.statSync(path.join(dir, file));
  assert.equal(at(one.dir, "bin/start").ino, at(two.dir, "bin/start").ino);
  assert.equal(at(two.dir, "bin/start").mtimeMs, 1_700_000_000_000);
  assert.equal(at(two.dir, "readme.md").mtimeMs, 1_800_000_000_000);
});

test("bytes are counted by what they came from", async (t) => {
  const world = makeWorld(t);
  const first = await world.publish(TREE);
  const kinds: string[] = [];
  /** Has the packs only: what is asked of it first must come from the next. */
  const cache: DepotReader = {
    ...world.depot,
    kind: "cache",
    get: (name, signal, range) => world.depot.get(name.startsWith("packs/") ? name : "none", signal, range),
  };
  const one = await world.install(1, first, {
    depots: [cache, { ...world.depot, kind: "hub" }],
    onProgress: ({ sources }) => kinds.push(Object.keys(sources).join(" ")),
  });
  assert.deepEqual(Object.keys(one.sources).sort(), ["cache", "hub"]);
  assert.ok((one.sources.cache ?? 0) > 3_000_000 && (one.sources.hub ?? 0) < 2000);
  assert.equal((one.sources.cache ?? 0) + (one.sources.hub ?? 0), one.bytesFetched);
  assert.equal(kinds[0], "");
  assert.equal(kinds.at(-1), "hub cache");
  const two = await world.install(2, first);
  const size = Object.values(TREE).reduce((sum, text) => sum + (text?.length ?? 0), 0);
  assert.equal(two.sources.disk, size - "x:".length - "l:.pnpm/a".length);
  assert.deepEqual((await world.install(2, first)).sources, {});
});

test("content that moved, was doubled or changed its mode is found in earlier releases", async (t) => {
  const world = makeWorld(t);
  const body = (n: number): string => `content ${n}`.repeat(50);
  const many = Array.from({ length: 600 }, (_, n): [string, string] => [`lib/file-${n}.js`, body(n)]);
  const first = await world.publish(
    Object.fromEntries([...many, ["large.bin", noise(900_000).toString("latin1")]]),
  );
  await world.install(1, first);
  const renamed = many.map(([at, text], n): [string, string] =>
    n % 50 === 0 ? [`moved/${n}.js`, text] : [at, text],
  );
  const tree: Tree = {
    ...Object.fromEntries(renamed),
    "twice/1.js": body(1),
    "tool.js": `x:${body(2)}`,
    "new.js": "new",
    "other.bin": `${noise(900_000).toString("latin1")}more`,
  };
  const second = await world.publish(tree, { previous: first });
  const two = await world.install(2, second);
  assert.deepEqual(await verifyInstall(world.revs, releaseId(2), second.tree, t.signal), []);
  // All but the executable, the new one and the large one, of which most chunks are here.
  assert.equal(two.linked, 601);
  assert.ok(two.bytesFetched < 500_000, `${two.bytesFetched} fetched`);
  const inode = (n: number, at: string): number => fs.statSync(path.join(world.revs, releaseId(n), at)).ino;
  assert.equal(inode(2, "moved/50.js"), inode(1, "lib/file-50.js"));
  assert.equal(inode(2, "twice/1.js"), inode(2, "lib/file-1.js"));
  const three = await world.install(3, await world.publish({ "a.js": body(0), "b.js": "new" }));
  assert.equal(three.linked, 2);
});

test("what the disk cannot read of an earlier release is fetched", async (t) => {
  const world = makeWorld(t);
  const tree: Tree = { "a.txt": "a".repeat(5000), "b.txt": "b".repeat(5000), "big.bin": noise(3_000_000) };
  const first = await world.publish(tree);
  await world.install(1, first);
  const bad = ["a.txt", "big.bin"].map((at) => fs.statSync(path.join(world.revs, releaseId(1), at)).ino);
  const read = fs.readSync;
  t.mock.method(fs, "readSync", (...args: Parameters<typeof fs.readSync>) => {
    if (!bad.includes(fs.fstatSync(args[0]).ino)) return read(...args);
    throw Object.assign(new Error("EIO: i/o error, read"), { code: "EIO", syscall: "read" });
  });
  const big = Buffer.concat([noise(3_000_000), Buffer.from("more")]);
  const second = await world.publish({ ...tree, "big.bin": big }, { previous: first });
  const { copied } = await world.install(2, second, { link: false });
  assert.equal(copied, 1);
  t.mock.restoreAll();
  assert.deepEqual(await verifyInstall(world.revs, releaseId(2), second.tree, t.signal), []);
});

test("the last that was installed is the latest, though the clock was set back", async (t) => {
  const world = makeWorld(t);
  const published = await world.publish(TREE);
  await world.install(1, published);
  const soon = Date.now() / 1000 + 86_400;
  fs.utimesSync(path.join(world.revs, ".install", `${releaseId(1)}.record`), soon, soon);
  await world.install(2, published);
  await world.install(3, published);
  assert.deepEqual(await listInstalls(world.revs), [3, 2, 1].map(releaseId));
});

test("a pack that cannot be stored fails the publish, whichever it is, and no index is written", async (t) => {
  const tree = Object.fromEntries(
    Array.from({ length: 6 }, (_, n) => [`${n}.bin`, noise(6_000_000, 2 * n + 1)]),
  );
  for (const failing of [1, 2, 3]) {
    const world = makeWorld(t);
    let puts = 0;
    const depot: Depot = {
      ...world.depot,
      put: async (name, blob, signal) => {
        if (name.startsWith("packs/") && ++puts === failing) throw new SkeinError("DISK_FULL", name);
        await world.depot.put(name, blob, signal);
      },
    };
    await assert.rejects(world.publish(tree, { depot }), { code: "DISK_FULL" }, `pack ${failing} of ${puts}`);
    assert.deepEqual(await Array.fromAsync(world.depot.list("index/", t.signal)), []);
  }
});
