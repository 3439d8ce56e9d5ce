import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { zstdCompressSync } from "node:zlib";
import { keptInBucket } from "../../bucket/kept-in-bucket.ts";
import { bytesBlob } from "../../release/fetch/blobs.ts";
import { chunksOf, decodeHead, encodePack, packName } from "../../release/tree/pack.ts";
import { encodeIndex } from "../../release/tree/release-index.ts";
import { noise } from "../../release/release.fixture.ts";
import { removeDamaged } from "../../release/upkeep/damaged.ts";
import { bucketWorld, type BucketWorld } from "./bucket-world.fixture.ts";

interface Put {
  readonly world: BucketWorld;
  /** Of the only pack there is. */
  readonly name: string;
  readonly bytes: Buffer;
}

/** What a machine makes of a bucket whose only pack somebody changed, and what it makes of it once it was mended. */
async function mended(t: TestContext, change: (put: Put) => Promise<string>): Promise<void> {
  const world = await bucketWorld(t);
  const { depot } = world.bucket;
  const file = path.join(world.dir, "site.bin");
  fs.writeFileSync(file, noise(30_000, 1));
  const revision = await world.spoolFile(file);
  await world.jump(revision);
  const [pack = ""] = await Array.fromAsync(depot.list("packs/", t.signal));
  const bytes = fs.readFileSync(path.join(world.bucketDir, "blobs", pack));
  const bad = await change({ world, name: pack, bytes });
  const machine = world.machine("m", ["site"]);
  const refused = await machine.sync();
  assert.match(refused.packages[0]?.troubles[0]?.code ?? "", /CORRUPT/);
  assert.equal(machine.current("site"), undefined);
  const examine = async (dryRun: boolean): Promise<string[]> => {
    const { damaged } = await removeDamaged({ depot, dryRun, signal: t.signal });
    return damaged.map(({ name }) => name);
  };
  assert.deepEqual([await examine(true), await examine(false), await examine(false)], [[bad], [bad], []]);
  assert.equal(await world.spoolFile(file), revision);
  const { packages } = await machine.sync();
  assert.deepEqual([packages[0]?.troubles, `site.${packages[0]?.active}`], [[], revision]);
}

test("a pack whose bytes changed is found and removed, and stored again by who publishes", async (t) => {
  await mended(t, async ({ world, name, bytes }) => {
    bytes.writeUInt8(bytes.readUInt8(bytes.length - 10) ^ 1, bytes.length - 10);
    await fs.promises.writeFile(path.join(world.bucketDir, "blobs", name), bytes);
    return name;
  });
});

test("a pack that lies about its chunks is found and removed, and the honest one stored again", async (t) => {
  await mended(t, async ({ world, name, bytes }) => {
    const { depot } = world.bucket;
    const { frames, lists } = decodeHead(bytes);
    const others = frames.map((frame) => {
      const body = zstdCompressSync(noise(frame.raw, 9));
      return { body, frame: { length: body.length, chunks: Array.from(chunksOf(frame)) } };
    });
    const body = Buffer.concat(others.map((one) => one.body));
    const liar = encodePack(
      others.map(({ frame }) => frame),
      body,
      lists,
    );
    const put = async (to: string, blob: Buffer): Promise<void> => {
      await depot.delete(to, t.signal);
      await depot.put(to, bytesBlob(blob), t.signal);
    };
    await put(packName(liar.id), Buffer.concat(liar.pieces));
    const [index = ""] = await Array.fromAsync(depot.list("index/", t.signal));
    await put(index, Buffer.from(encodeIndex({ packs: [liar.id], deltas: [] })));
    await depot.delete(name, t.signal);
    return packName(liar.id);
  });
});

test("a pack that is lost is told, until who publishes stores it again", async (t) => {
  const world = await bucketWorld(t);
  const { depot } = world.bucket;
  const file = path.join(world.dir, "site.bin");
  fs.writeFileSync(file, noise(30_000, 1));
  await world.spoolFile(file);
  const [pack = ""] = await Array.fromAsync(depot.list("packs/", t.signal));
  const [index = ""] = await Array.fromAsync(depot.list("index/", t.signal));
  const lost = async () => (await removeDamaged({ depot, dryRun: false, signal: t.signal })).lost;
  assert.deepEqual(await lost(), []);
  await depot.delete(pack, t.signal);
  assert.deepEqual([await lost(), await lost()], [[{ name: pack, index }], [{ name: pack, index }]]);
  await world.spoolFile(file);
  assert.deepEqual(await lost(), []);
});

test("a table of rows that is lost is told, until who publishes stores it again", async (t) => {
  const world = await bucketWorld(t);
  const { depot, documents } = world.bucket;
  const file = path.join(world.dir, "site.bin");
  fs.writeFileSync(file, noise(30_000, 1));
  const revision = await world.spoolFile(file);
  const [index = ""] = await Array.fromAsync(depot.list("index/", t.signal));
  const [rows = ""] = await Array.fromAsync(depot.list("rows/", t.signal));
  const lost = async () => {
    const releases = keptInBucket(documents, t.signal);
    return (await removeDamaged({ depot, releases, dryRun: false, signal: t.signal })).lost;
  };
  assert.deepEqual(await lost(), []);
  await depot.delete(rows, t.signal);
  assert.deepEqual(await lost(), [{ name: rows, index }]);
  assert.equal(await world.spoolFile(file), revision);
  assert.deepEqual(await lost(), []);
});
