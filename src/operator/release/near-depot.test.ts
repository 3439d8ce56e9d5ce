import assert from "node:assert/strict";
import path from "node:path";
import { test } from "node:test";
import type { BlobSource, Depot } from "../../depot/seam/depot.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { bytesBlob, readBlob } from "../../release/fetch/blobs.ts";
import { tempDir } from "../../release/release.fixture.ts";
import { keptBlobs } from "./kept-blobs.ts";
import { nearDepot } from "./near-depot.ts";

const signal = new AbortController().signal;

/** A depot in memory that says what it was asked, and whose puts end when they are let. */
function farDepot(): { depot: Depot; asked: string[]; blobs: Map<string, Buffer>; let: () => void } {
  const blobs = new Map<string, Buffer>();
  const asked: string[] = [];
  const gate = Promise.withResolvers<void>();
  const whole = async (blob: BlobSource): Promise<Buffer> =>
    Buffer.concat(await Array.fromAsync(blob.open(0)));
  const depot: Depot = {
    kind: "hub",
    name: "far",
    has: async (names) => new Set(names.filter((name) => blobs.has(name))),
    async *get(name, _signal, range) {
      asked.push(`get ${name}`);
      const bytes = blobs.get(name);
      if (bytes === undefined) throw new SkeinError("BLOB_MISSING", name);
      yield Buffer.from(bytes.subarray(range?.start ?? 0, range?.end ?? bytes.length));
    },
    async *list(prefix) {
      yield* [...blobs.keys()].filter((name) => name.startsWith(prefix));
    },
    put: async (name, blob) => {
      asked.push(`put ${name}`);
      const bytes = await whole(blob);
      if (!name.startsWith("index/")) await gate.promise;
      if (name.endsWith("bad")) throw new SkeinError("DISK_FULL", name);
      blobs.set(name, bytes);
    },
    delete: async (name) => void blobs.delete(name),
  };
  return { depot, asked, blobs, let: () => gate.resolve() };
}

test("a small blob that was expected is asked for once, whole or in parts", async () => {
  const far = farDepot();
  far.blobs.set("packs/a", Buffer.from("abcdef"));
  const near = nearDepot(far.depot);
  const expected = near.expect("packs/a", signal);
  assert.equal((await readBlob(near, "packs/a", 100, signal)).toString(), "abcdef");
  assert.equal((await readBlob(near, "packs/a", 100, signal, { start: 2, end: 4 })).toString(), "cd");
  assert.equal((await readBlob(near, "packs/a", 100, signal, { start: 4, end: 400 })).toString(), "ef");
  assert.equal(Buffer.from((await expected) ?? []).toString(), "abcdef");
  assert.deepEqual(far.asked, ["get packs/a"]);
});

test("what an earlier command put or read is not asked for again, where it is expected", async (t) => {
  const far = farDepot();
  const kept = keptBlobs(path.join(tempDir(t), "blobs"));
  const name = `packs/${"1".repeat(64)}`;
  far.let();
  const before = nearDepot(far.depot, { kept });
  await before.put(name, bytesBlob(Buffer.from("abcdef")), signal);
  await before.settled();
  while ((await kept.read(name)) === undefined) await new Promise(setImmediate);
  const near = nearDepot(far.depot, { kept });
  assert.equal(Buffer.from((await near.expect(name, signal)) ?? []).toString(), "abcdef");
  assert.equal((await readBlob(near, name, 100, signal, { start: 2, end: 4 })).toString(), "cd");
  assert.deepEqual(far.asked, [`put ${name}`]);
  const other = nearDepot(far.depot, { kept });
  assert.equal((await readBlob(other, name, 100, signal)).toString(), "abcdef");
  assert.deepEqual(far.asked, [`put ${name}`, `get ${name}`]);
});

test("small blobs are gathered while they are few, and then sent in their order, an index after the others", async () => {
  const far = farDepot();
  far.let();
  const near = nearDepot(far.depot, { gathers: true });
  await near.put("packs/a", bytesBlob(Buffer.from("a")), signal);
  await near.put("index/a", bytesBlob(Buffer.from("i")), signal);
  await near.settled();
  assert.deepEqual(far.asked, []);
  assert.deepEqual(
    near.gathered().map(({ name }) => name),
    ["packs/a", "index/a"],
  );
  assert.deepEqual(near.gathered(), []);
  const many = nearDepot(far.depot, { gathers: true });
  const part = Buffer.alloc(200 * 1024);
  for (const name of ["packs/b", "rows/b", "packs/c", "index/b"])
    await many.put(name, bytesBlob(part), signal);
  await many.settled();
  assert.deepEqual(far.asked, ["put packs/b", "put rows/b", "put packs/c", "put index/b"]);
  assert.deepEqual(many.gathered(), []);
});

test("what was listed is there as long as nothing was sent, and what came along is not asked for", async () => {
  const far = farDepot();
  far.let();
  far.blobs.set("packs/a", Buffer.from("a"));
  const near = nearDepot(far.depot, { gathers: true });
  near.seed("index/t", Buffer.from("i"));
  assert.equal((await readBlob(near, "index/t", 10, signal)).toString(), "i");
  await Array.fromAsync(near.list("packs/", signal));
  far.blobs.delete("packs/a");
  assert.deepEqual(await near.has(["packs/a"], signal), new Set(["packs/a"]));
  assert.deepEqual(await near.has(["packs/a", "packs/b"], signal), new Set());
  near.gathered();
  assert.deepEqual(await near.has(["packs/a"], signal), new Set());
  assert.deepEqual(far.asked, []);
});

test("a large blob is not held", async () => {
  const far = farDepot();
  far.blobs.set("packs/large", Buffer.alloc(2 ** 20, 7));
  const near = nearDepot(far.depot);
  assert.equal(await near.expect("packs/large", signal), undefined);
  assert.equal((await readBlob(near, "packs/large", 2 ** 21, signal)).length, 2 ** 20);
  assert.equal(far.asked.length, 2);
});

test("what cannot be read is told to whoever asks for it", async () => {
  const near = nearDepot(farDepot().depot);
  assert.equal(await near.expect("rows/none", signal), undefined);
  await assert.rejects(readBlob(near, "rows/none", 10, signal), { code: "BLOB_MISSING" });
});

test("an index is put when all that was put before it has arrived", async () => {
  const far = farDepot();
  const near = nearDepot(far.depot);
  await near.put("packs/a", bytesBlob(Buffer.from("a")), signal);
  await near.put("rows/b", bytesBlob(Buffer.from("b")), signal);
  const index = near.put("index/c", bytesBlob(Buffer.from("c")), signal);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(far.asked, ["put packs/a", "put rows/b"]);
  assert.equal(far.blobs.size, 0);
  far.let();
  await index;
  await near.settled();
  assert.deepEqual([...far.blobs.keys()], ["packs/a", "rows/b", "index/c"]);
});

test("after a put that failed no index is put", async () => {
  const far = farDepot();
  far.let();
  const near = nearDepot(far.depot);
  await near.put("packs/bad", bytesBlob(Buffer.from("a")), signal);
  await assert.rejects(near.put("index/c", bytesBlob(Buffer.from("c")), signal), { code: "DISK_FULL" });
  await assert.rejects(near.settled(), { code: "DISK_FULL" });
  assert.equal(far.blobs.size, 0);
});

test("a put's bytes are taken before it returns", async () => {
  const far = farDepot();
  const near = nearDepot(far.depot);
  const bytes = Buffer.from("first");
  await near.put("packs/a", bytesBlob(bytes), signal);
  bytes.fill(0);
  far.let();
  await near.settled();
  assert.equal(far.blobs.get("packs/a")?.toString(), "first");
});
