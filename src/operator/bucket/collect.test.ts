import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { keptInBucket } from "../../bucket/kept-in-bucket.ts";
import { fakeClock } from "../../lib/time/fake-clock.fixture.ts";
import { GRACE_MS } from "../../release/tree/published.ts";
import { collect } from "../../release/upkeep/collect.ts";
import { noise } from "../../release/release.fixture.ts";
import { bucketWorld } from "./bucket-world.fixture.ts";
import { spool } from "./spool.ts";

function bytesOnDisk(dir: string): number {
  const files = fs.readdirSync(dir, { recursive: true, withFileTypes: true }).filter((one) => one.isFile());
  return files.reduce((sum, { parentPath, name }) => sum + fs.statSync(path.join(parentPath, name)).size, 0);
}

test("a bucket's depot keeps what its releases and orders need, and loses what was purged", async (t) => {
  const world = await bucketWorld(t);
  const { depot, documents } = world.bucket;
  const clock = fakeClock(Date.now());
  const run = async () => {
    clock.advance(GRACE_MS + 1);
    const roots = () => keptInBucket(documents, t.signal);
    return await collect({ depot, roots, clock, signal: t.signal });
  };
  const [first, second, third] = [
    await world.spool("site", { "a.txt": noise(30_000, 1) }),
    await world.spool("site", { "a.txt": noise(30_000, 2) }),
    await world.spool("site", { "a.txt": noise(30_000, 5) }),
  ];
  await world.jump(first);
  await world.jump(second);
  // Nothing is lost while it has a document; what a document of an order names is kept without one of its own.
  assert.equal((await run()).noted.blobs, 0);
  await world.purge(third);
  const before = bytesOnDisk(world.bucketDir);
  const outcomes = [await run(), await run(), await run()];
  assert.ok((outcomes[0]?.noted.blobs ?? 0) >= 3);
  assert.equal(outcomes[1]?.retired.blobs, outcomes[0]?.noted.blobs);
  assert.equal(outcomes[2]?.deleted.blobs, outcomes[0]?.noted.blobs);
  const freed = before - bytesOnDisk(world.bucketDir);
  assert.ok(freed >= 30_000, `${freed} bytes went, and the purged file alone has 30,000`);
  const machine = world.machine("one", ["site"]);
  await machine.sync();
  assert.match(machine.current("site") ?? "", new RegExp(`^revs/${second.split("-").at(-1) ?? ""}`));
});

test("a publisher whose machine slept for days in the middle publishes again what was collected meanwhile", async (t) => {
  const world = await bucketWorld(t);
  const clock = fakeClock(Date.now());
  const { bucket } = world;
  const roots = () => keptInBucket(bucket.documents, t.signal);
  const sleep = async (): Promise<void> => {
    for (let n = 0; n < 4; n++) {
      clock.advance(GRACE_MS + 1);
      await collect({ depot: bucket.depot, roots, clock, signal: t.signal });
    }
  };
  const operator = await world.operator();
  const documents: typeof bucket.documents = {
    ...bucket.documents,
    async write(name, ...rest) {
      if (name.startsWith("releases/")) await sleep();
      return await bucket.documents.write(name, ...rest);
    },
  };
  const file = path.join(world.dir, "site.bin");
  fs.writeFileSync(file, noise(30_000, 1));
  const sleepy = { ...operator, clock, bucket: { ...bucket, documents } };
  const made = await spool(sleepy, file, {
    env: "default",
    layout: "skein",
    tell: () => undefined,
    signal: t.signal,
  });
  const machine = world.machine("one", ["site"], { clock });
  const { packages } = await machine.sync();
  assert.deepEqual(packages[0]?.troubles, []);
  assert.deepEqual(await machine.revisions("site"), [`site.${made.revision}`]);
});

test("while one of a bucket's documents cannot be read, nothing goes", async (t) => {
  const world = await bucketWorld(t);
  await world.spool("site", { "a.txt": noise(30_000, 1) });
  const [name] = fs.readdirSync(path.join(world.bucketDir, "releases/site"));
  fs.writeFileSync(path.join(world.bucketDir, "releases/site", name ?? ""), "{}");
  const before = await Array.fromAsync(world.bucket.depot.list("", t.signal));
  const roots = () => keptInBucket(world.bucket.documents, t.signal);
  const collecting = collect({ depot: world.bucket.depot, roots, clock: fakeClock(), signal: t.signal });
  await assert.rejects(collecting, { code: "DOC_MALFORMED" });
  assert.deepEqual(await Array.fromAsync(world.bucket.depot.list("", t.signal)), before);
});
