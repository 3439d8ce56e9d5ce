import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { directoryDepot } from "../../depot/directory/directory.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";
import type { Digest, TreeId } from "../../lib/text/ids.ts";
import { makeWorld, noise, releaseId, type Tree, type World } from "../release.fixture.ts";
import { listLeft, removeInstall, removeLeftOf } from "./remove-install.ts";
import { assertInstall, verifyInstall } from "./verify-install.ts";
import { childProgram } from "../../lib/testing/child.fixture.ts";

const TREE: Tree = {
  "a/one.txt": "one",
  "big.bin": noise(700_000),
  "run.sh": "x:#!/bin/sh\n",
  "a/link": "l:one.txt",
};
const DAMAGED = ["TREE_CORRUPT", "PACK_CORRUPT", "CHUNK_CORRUPT", "CHUNK_MISSING"] as const;

function blobsOf(world: World): string[] {
  const root = path.join(world.dir, "depot/blobs");
  return fs
    .readdirSync(root, { recursive: true, encoding: "utf8" })
    .filter((name) => fs.statSync(path.join(root, name)).isFile())
    .map((name) => path.join(root, name));
}

test("any byte changed in any blob is found, and nothing appears", async (t) => {
  const world = makeWorld(t);
  const published = await world.publish(TREE);
  const found = new Set<string>();
  for (const file of blobsOf(world)) {
    const bytes = fs.readFileSync(file);
    const places = [0, 9, 13, 20, 40, bytes.length >> 1, bytes.length - 1].filter((at) => at < bytes.length);
    for (const at of places) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ 0x10;
      fs.writeFileSync(file, changed);
      await assert.rejects(world.install(1, published), (err) => {
        assert.ok(isSkeinError(err, ...DAMAGED), `${path.basename(file)} at ${at}: ${String(err)}`);
        found.add(err.code);
        return true;
      });
      assert.equal(fs.existsSync(path.join(world.revs, releaseId(1))), false);
    }
    fs.writeFileSync(file, bytes);
  }
  assert.ok(
    found.has("CHUNK_CORRUPT") && found.has("PACK_CORRUPT") && found.has("TREE_CORRUPT"),
    [...found].join(),
  );
  assert.equal((await world.install(1, published)).already, false);
});

test("a blob that is gone is named, and any other depot that has it will do", async (t) => {
  const world = makeWorld(t);
  const published = await world.publish(TREE);
  const good = path.join(world.dir, "good");
  fs.cpSync(path.join(world.dir, "depot"), good, { recursive: true });
  const both = [world.depot, directoryDepot(good)];
  for (const [n, file] of blobsOf(world).entries()) {
    const revs = path.join(world.dir, `revs-${n}`);
    const bytes = fs.readFileSync(file);
    fs.rmSync(file);
    await assert.rejects(world.install(1, published, { revs }), (err) =>
      isSkeinError(err, "BLOB_MISSING", "CHUNK_MISSING"),
    );
    await world.install(1, published, { revs, depots: both });
    fs.writeFileSync(file, Buffer.concat([bytes.subarray(0, -1), Buffer.from([(bytes.at(-1) ?? 0) ^ 1])]));
    await world.install(1, published, { revs: `${revs}-changed`, depots: both });
    fs.writeFileSync(file, bytes);
  }
});

test("rows of another tree do not pass for the signed one, nor does another list of rows", async (t) => {
  const world = makeWorld(t);
  const one = await world.publish(TREE);
  const two = await world.publish({ ...TREE, extra: "1" });
  await assert.rejects(world.install(1, { ...one, tree: "0".repeat(64) as TreeId }), {
    code: "BLOB_MISSING",
  });
  await assert.rejects(world.install(1, { ...one, rows: two.rows }), (err) =>
    isSkeinError(err, "TREE_CORRUPT", "CHUNK_MISSING"),
  );
  await assert.rejects(world.install(1, { ...one, since: two.since }), { code: "TREE_CORRUPT" });
  await assert.rejects(world.install(1, { ...one, since: "1".repeat(64) as Digest }), {
    code: "BLOB_MISSING",
  });
});

test("verify names what was changed, added, removed or made writable", async (t) => {
  const world = makeWorld(t);
  const published = await world.publish({ ...TREE, gone: "1", swapped: "2", moded: "3" });
  const { dir } = await world.install(1, published);
  assert.deepEqual(await verifyInstall(world.revs, releaseId(1), published.tree, t.signal), []);
  const at = (name: string): string => path.join(dir, name);
  const { mtime } = fs.statSync(at("a/one.txt"));
  fs.chmodSync(at("a/one.txt"), 0o644);
  fs.writeFileSync(at("a/one.txt"), "ONE");
  fs.utimesSync(at("a/one.txt"), mtime, mtime);
  fs.writeFileSync(at("a/added"), "");
  fs.rmSync(at("gone"));
  fs.rmSync(at("a/link"));
  fs.symlinkSync("/etc/passwd", at("a/link"));
  fs.rmSync(at("swapped"));
  fs.mkdirSync(at("swapped"));
  fs.chmodSync(at("moded"), 0o666);
  const found = await verifyInstall(world.revs, releaseId(1), published.tree, t.signal);
  assert.deepEqual(
    found.map(({ path, reason }) => `${path}: ${reason}`),
    ["a/link: link", "a/one.txt: content", "gone: missing", "moded: mode", "swapped: kind", "a/added: added"],
  );
  await assert.rejects(assertInstall(world.revs, releaseId(1), published.tree, t.signal), {
    code: "INSTALL_TAMPERED",
    message: /a\/link differs .* and 5 more/,
  });
});

test("a file that was tampered with is not linked into the next release", async (t) => {
  const world = makeWorld(t);
  const first = await world.publish(TREE);
  const { dir } = await world.install(1, first);
  const file = path.join(dir, "a/one.txt");
  const { mtime } = fs.statSync(file);
  // Same size, time and inode: only its mode tells; and then with its mode put back, only its hash would.
  fs.chmodSync(file, 0o644);
  fs.writeFileSync(file, "ONE");
  fs.utimesSync(file, mtime, mtime);
  const second = await world.publish({ ...TREE, more: "1" }, { previous: first });
  const linked = await world.install(2, second);
  assert.equal(fs.readFileSync(path.join(linked.dir, "a/one.txt"), "utf8"), "one");
  fs.chmodSync(file, 0o444);
  const copied = await world.install(3, second, { link: false });
  assert.equal(fs.readFileSync(path.join(copied.dir, "a/one.txt"), "utf8"), "one");
});

test("what was changed in a large file of an earlier release is fetched for its next version", async (t) => {
  const world = makeWorld(t);
  const large = noise(900_000, 7);
  const first = await world.publish({ large });
  const { dir } = await world.install(1, first);
  const file = path.join(dir, "large");
  fs.chmodSync(file, 0o644);
  const fd = fs.openSync(file, "r+");
  fs.writeSync(fd, "changed", 10_000);
  fs.closeSync(fd);
  const next = Buffer.concat([large, Buffer.from("and more")]);
  const second = await world.publish({ large: next }, { previous: first });
  const installed = await world.install(2, second);
  assert.ok(fs.readFileSync(path.join(installed.dir, "large")).equals(next));
});

test("where the app may write to its files nothing is shared; elsewhere all but empty files is", async (t) => {
  const world = makeWorld(t);
  const first = await world.publish({ ...TREE, empty: "" });
  const one = await world.install(1, first);
  const two = await world.install(2, first, { link: false });
  const three = await world.install(3, first);
  const inode = (dir: string, name: string): number => fs.statSync(path.join(dir, name)).ino;
  assert.notEqual(inode(one.dir, "run.sh"), inode(two.dir, "run.sh"));
  assert.deepEqual([two.copied, two.linked, three.linked], [3, 0, 3]);
  assert.notEqual(inode(one.dir, "empty"), inode(three.dir, "empty"));
  assert.ok(two.bytesFetched < 2000, `${two.bytesFetched}`);
});

test("folders that the app may write are laid as links, outside what is verified", async (t) => {
  const world = makeWorld(t);
  const data = path.join(world.dir, "data");
  fs.mkdirSync(data);
  const published = await world.publish({ ...TREE, "tmp/.keep": "" });
  const writable = new Map([
    ["tmp", data],
    [".next/cache", data],
  ]);
  const { dir } = await world.install(1, published, { writable });
  fs.writeFileSync(path.join(dir, "tmp/scratch"), "1");
  assert.equal(fs.readFileSync(path.join(dir, ".next/cache/scratch"), "utf8"), "1");
  assert.deepEqual(await verifyInstall(world.revs, releaseId(1), published.tree, t.signal), []);
});

test("a file and a link that the release has are laid, also where a folder of the app's was to be", async (t) => {
  const world = makeWorld(t);
  const data = path.join(world.dir, "data");
  fs.mkdirSync(data);
  const published = await world.publish(TREE);
  const asked = ["run.sh", "a/link", "big.bin/below", "a/link/below", "a/tmp"];
  const { dir } = await world.install(1, published, { writable: new Map(asked.map((at) => [at, data])) });
  assert.equal(fs.readFileSync(path.join(dir, "run.sh"), "utf8"), "#!/bin/sh\n");
  assert.equal(fs.readlinkSync(path.join(dir, "a/link")), "one.txt");
  assert.equal(fs.readlinkSync(path.join(dir, "a/tmp")), data);
  assert.deepEqual(await verifyInstall(world.revs, releaseId(1), published.tree, t.signal), []);
});

test("what was left of a release that was installed since is left alone", async (t) => {
  const world = makeWorld(t);
  const published = await world.publish(TREE);
  fs.mkdirSync(path.join(world.revs, ".install", `${releaseId(1)}.stage`), { recursive: true });
  const left = await listLeft(world.revs);
  assert.deepEqual(left, [releaseId(1)]);
  await world.install(1, published);
  for (const release of left) assert.equal(await removeLeftOf(world.revs, release), false);
  assert.deepEqual(await verifyInstall(world.revs, releaseId(1), published.tree, t.signal), []);
});

test("removing an install takes it, its record and what was unfinished, and may be repeated", async (t) => {
  const world = makeWorld(t);
  const published = await world.publish(TREE);
  await world.install(1, published);
  const second = await world.install(2, published);
  const [one, other] = [releaseId(1), releaseId(3)];
  const begun = [`${one}.mend`, `${one}.${"a".repeat(16)}.delta`, `${other}.stage/a`, `${other}.fresh`];
  for (const name of begun) fs.mkdirSync(path.join(world.revs, ".install", name), { recursive: true });
  assert.deepEqual(await listLeft(world.revs), [other]);
  assert.equal(await removeLeftOf(world.revs, other), true);
  assert.deepEqual(await listLeft(world.revs), []);
  await removeInstall(world.revs, releaseId(1));
  await removeInstall(world.revs, releaseId(1));
  assert.deepEqual(fs.readdirSync(world.revs).sort(), [releaseId(2), ".install"].sort());
  assert.deepEqual(fs.readdirSync(path.join(world.revs, ".install")), [`${releaseId(2)}.record`]);
  assert.equal(fs.readFileSync(path.join(second.dir, "a/one.txt"), "utf8"), "one");
  await assert.rejects(verifyInstall(world.revs, releaseId(1), published.tree, t.signal), {
    code: "RELEASE_NOT_FOUND",
  });
});

test(
  "a full disk is said before the first byte, and nothing is left (long)",
  { skip: !canMount() },
  async (t) => {
    const world = makeWorld(t);
    const published = await world.publish({ "big.bin": noise(6_000_000) });
    fs.mkdirSync(world.revs);
    const script = childProgram(import.meta.dirname, "../release-run.child.ts");
    const install = [
      process.execPath,
      script,
      "install",
      path.join(world.dir, "depot"),
      world.revs,
      "1",
      JSON.stringify(published),
    ];
    const run = (options: string) => {
      const words = install.map((word) => `'${word}'`).join(" ");
      const command = `mount -t tmpfs -o ${options} tmpfs '${world.revs}' && ${words} && find '${world.revs}' -mindepth 2 >&2`;
      return spawnSync("unshare", ["-m", "sh", "-c", command], { encoding: "utf8" });
    };
    for (const options of ["size=8m", "size=64m,nr_inodes=4"]) {
      const { stdout, stderr } = run(options);
      const { error } = JSON.parse(stdout) as { error: { code: string; data: { needed: number } } };
      assert.equal(error.code, "DISK_FULL", stdout);
      assert.equal(stderr, "");
    }
    assert.equal((JSON.parse(run("size=64m").stdout) as { files: number }).files, 1);
  },
);

function canMount(): boolean {
  return process.getuid?.() === 0 && spawnSync("unshare", ["-m", "true"]).status === 0;
}
