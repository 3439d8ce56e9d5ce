import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { blobCache, type BlobCache } from "../../depot/cache/blob-cache.ts";
import { cacheDepot, isWhole } from "../../depot/cache/cache-depot.ts";
import { PIECE_BYTES } from "../../depot/cache/piece-file.ts";
import { cachedTrees, checkCache, collectCache } from "./cache-contents.ts";
import { publish, type Published } from "../publish/publish.ts";
import { noise, plainSource, writeTree } from "../release.fixture.ts";

interface Place {
  readonly dir: string;
  readonly cache: BlobCache;
  readonly put: (name: string, size?: number) => Promise<Published>;
  readonly advance: (ms: number) => void;
}

function place(t: TestContext): Place {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-contents-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  let now = Date.parse("2026-11-01T00:00:00.000Z");
  const cache = blobCache({ dir: path.join(dir, "cache"), maxBytes: 2 ** 30, now: () => now });
  return {
    dir,
    cache,
    advance: (ms) => (now += ms),
    put: async (name, size = 600_000) => {
      const source = plainSource(
        writeTree(path.join(dir, name), { [`${name}.bin`]: noise(size, name.length) }),
      );
      const options = { previous: null, now, cacheDir: null, signal: t.signal };
      return await publish({ ...options, source, depot: cacheDepot(cache) });
    },
  };
}

const HOUR = 3_600_000;

test("what was published into a cache is there from end to end, the tree used last first", async (t) => {
  const { cache, put, advance } = place(t);
  const one = await put("one");
  advance(HOUR);
  const other = await put("other");
  const trees = await cachedTrees(cache, t.signal);
  assert.deepEqual(
    trees.map(({ tree }) => tree),
    [other.tree, one.tree],
  );
  for (const { name } of await cache.blobs()) assert.ok(await isWhole(cache, name, t.signal), name);
});

test("gc keeps what the newest need, and removes the rest with its tables", async (t) => {
  const { cache, put, advance } = place(t);
  const trees: Published[] = [];
  for (const name of ["a", "bb", "ccc"]) {
    trees.push(await put(name));
    advance(HOUR);
  }
  const dry = await collectCache(cache, { count: 2, dry: true }, t.signal);
  assert.equal((await cachedTrees(cache, t.signal)).length, 3);
  const done = await collectCache(cache, { count: 2 }, t.signal);
  assert.deepEqual(done.removed, dry.removed);
  assert.deepEqual(
    (await cachedTrees(cache, t.signal)).map(({ tree }) => tree),
    [trees[2]?.tree, trees[1]?.tree],
  );
  const gone = trees[0];
  const names = (await cache.blobs()).map(({ name }) => name);
  assert.ok(!names.includes(`rows/${gone?.rows}`) && names.includes(`rows/${trees[1]?.rows}`));
  assert.equal(names.filter((name) => name.startsWith("packs/")).length, 2);
  assert.equal((await collectCache(cache, { count: 0 }, t.signal)).trees, 0);
  assert.equal((await cache.blobs()).filter(({ name }) => name.startsWith("packs/")).length, 0);
});

test("gc by age removes what was not used since, and nothing that is still needed", async (t) => {
  const { cache, put, advance } = place(t);
  await put("old");
  advance(24 * HOUR);
  const young = await put("young");
  const before = Date.parse("2026-11-01T12:00:00.000Z");
  await collectCache(cache, { before }, t.signal);
  assert.deepEqual(
    (await cachedTrees(cache, t.signal)).map(({ tree }) => tree),
    [young.tree],
  );
  assert.deepEqual((await collectCache(cache, { before }, t.signal)).removed, []);
});

test("gc by number and age removes what neither keeps", async (t) => {
  const { cache, put, advance } = place(t);
  const trees: Published[] = [];
  for (const name of ["a", "bb", "ccc"]) {
    trees.push(await put(name));
    advance(HOUR);
  }
  const left = async (): Promise<unknown> => (await cachedTrees(cache, t.signal)).map(({ tree }) => tree);
  const [a, b, c] = trees.map(({ tree }) => tree);
  const begun = Date.parse("2026-11-01T00:00:00.000Z");
  assert.deepEqual(
    (await collectCache(cache, { count: 1, before: begun - HOUR }, t.signal)).removed,
    [],
    "all are younger",
  );
  await collectCache(cache, { count: 2, before: begun + 24 * HOUR }, t.signal);
  assert.deepEqual(await left(), [c, b], "two are kept, however old they are");
  await collectCache(cache, { count: 0, before: begun + 1.5 * HOUR }, t.signal);
  assert.deepEqual(await left(), [c], `what is younger is kept; ${a} had gone`);
});

test("a flipped bit is found by its checksum, other bytes under a blob's name by the name", async (t) => {
  const { cache, put, dir } = place(t);
  await put("one");
  assert.deepEqual((await checkCache(cache, t.signal)).damaged, []);
  const names = (await cache.blobs()).map(({ name }) => name);
  const pack = names.find((name) => name.startsWith("packs/")) ?? "";
  const file = path.join(dir, "cache", pack, "P0");
  const bytes = fs.readFileSync(file);
  bytes.writeUInt8(bytes.readUInt8(9000) ^ 4, 9000);
  fs.writeFileSync(file, bytes);
  assert.deepEqual(await checkCache(cache, t.signal), { checked: names.length, damaged: [pack] });
  assert.ok(!(await isWhole(cache, pack, t.signal)));
  for (const name of [`packs/${"0".repeat(64)}`, `rows/${"1".repeat(64)}`, `index/${"2".repeat(64)}`]) {
    await cache.write(name, 0, Buffer.from("nothing of the kind"), true);
    assert.deepEqual((await checkCache(cache, t.signal)).damaged, [name]);
  }
});

test("damage is found also in what is held in part, behind what is lacking", async (t) => {
  const { cache, dir } = place(t);
  const bytes = noise(3 * PIECE_BYTES, 1);
  for (const n of [0, 2])
    await cache.write("packs/part", n * PIECE_BYTES, bytes.subarray(0, PIECE_BYTES), false);
  const file = path.join(dir, "cache/packs/part/P2");
  const held = fs.readFileSync(file);
  held.writeUInt8(held.readUInt8(9000) ^ 4, 9000);
  fs.writeFileSync(file, held);
  assert.deepEqual(await checkCache(cache, t.signal), { checked: 1, damaged: ["packs/part"] });
  assert.ok(!fs.existsSync(file));
  assert.ok((await cache.peek("packs/part", 0, PIECE_BYTES)) !== undefined);
});

test("a cache as a depot has only what is whole, and refuses bytes other than announced", async (t) => {
  const { cache } = place(t);
  const depot = cacheDepot(cache);
  await cache.write("packs/part", 5, Buffer.from("middle"), true);
  assert.equal((await depot.has(["packs/part"], t.signal)).size, 0);
  await assert.rejects(
    async () => {
      for await (const _ of depot.get("packs/part", t.signal)) void _;
    },
    { code: "BLOB_MISSING" },
  );
  const lie = {
    size: 3,
    sha256: "0".repeat(64),
    async *open() {
      yield Buffer.from("abc");
    },
  };
  await assert.rejects(depot.put("packs/lie", lie, t.signal), { code: "CHUNK_CORRUPT" });
  assert.deepEqual(await cache.read("packs/lie", 0, 3), undefined);
});
