import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { array, assert as holds, integer, property, record } from "fast-check";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";
import { depotConformance } from "../seam/depot.conformance.ts";
import type { ByteRange, Depot, DepotReader } from "../seam/depot.ts";
import { directoryDepot } from "../directory/directory.ts";
import { blobCache, type BlobCache } from "./blob-cache.ts";
import { cached } from "./cached.ts";
import { forgiving } from "./forgiving.ts";
import { PIECE_BYTES, decodePiece, encodePiece, heldFrom, withPart } from "./piece-file.ts";
import { childProgram } from "../../lib/testing/child.fixture.ts";

function tempDir(t: TestContext): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-cache-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

function cacheIn(dir: string, maxBytes = 64 * 2 ** 20): BlobCache {
  let at = Date.now();
  return blobCache({ dir, maxBytes, now: () => (at += 1) });
}

depotConformance("cache before a directory", async (t): Promise<Depot> => {
  const dir = tempDir(t);
  const far = directoryDepot(path.join(dir, "far"));
  const near = cacheIn(path.join(dir, "near"));
  return {
    ...cached({ near, far }),
    put: async (name, blob, signal) => {
      await far.put(name, blob, signal);
      await near.drop(name);
    },
    delete: async (name, signal) => {
      await far.delete(name, signal);
      await near.drop(name);
    },
  };
});

test("how far it is to what is held next is found at once, however long somebody says that the blob is", async (t) => {
  const cache = cacheIn(tempDir(t));
  await cache.write("packs/a", 5 * PIECE_BYTES, randomBytes(10), false);
  await cache.write("packs/a", 3 * PIECE_BYTES + 7, randomBytes(10), false);
  await cache.write("packs/b", PIECE_BYTES, randomBytes(10), false);
  assert.equal(await cache.gapEnd("packs/a", 10, Number.MAX_SAFE_INTEGER), 3 * PIECE_BYTES);
  assert.equal(await cache.gapEnd("packs/a", 3 * PIECE_BYTES + 20, 9 * PIECE_BYTES), 5 * PIECE_BYTES);
  assert.equal(await cache.gapEnd("packs/a", 10, 2 * PIECE_BYTES), 2 * PIECE_BYTES);
  assert.equal(
    await cache.gapEnd("packs/a", 6 * PIECE_BYTES, Number.MAX_SAFE_INTEGER),
    Number.MAX_SAFE_INTEGER,
  );
});

test("parts of a piece that come in any order and overlap are held as what was there", () => {
  const truth = randomBytes(1000);
  const part = record({ start: integer({ min: 0, max: 900 }), length: integer({ min: 1, max: 100 }) });
  holds(
    property(array(part, { maxLength: 20 }), (parts) => {
      let content = withPart({ parts: [], ends: false }, { start: 0, bytes: truth.subarray(0, 1) }, false);
      const has = new Set([0]);
      for (const { start, length } of parts) {
        const bytes = truth.subarray(start, start + length);
        content = content && withPart(content, { start, bytes }, false);
        for (let at = start; at < start + length; at++) has.add(at);
      }
      assert.ok(content !== undefined);
      const again = decodePiece(encodePiece(content));
      assert.ok(again !== undefined);
      for (let at = 0; at < 1000; at += 37) {
        let end = at;
        while (has.has(end)) end += 1;
        const held = heldFrom(again, at, 1000);
        assert.equal(held?.length ?? 0, end - at);
        if (held !== undefined) assert.ok(truth.subarray(at, end).equals(held));
      }
    }),
  );
});

test("any byte of a piece's file that changed makes it none", () => {
  const content = {
    parts: [
      { start: 7, bytes: randomBytes(50) },
      { start: 90, bytes: randomBytes(9) },
    ],
    ends: true,
  };
  const file = encodePiece(content);
  assert.ok(decodePiece(file) !== undefined);
  for (let at = 0; at < file.length; at++) {
    const changed = Buffer.from(file);
    changed.writeUInt8(changed.readUInt8(at) ^ 0x40, at);
    // The flag of the blob's end is a hint that nothing depends on.
    if (at < 12 || at >= 16) assert.equal(decodePiece(changed), undefined, `byte ${at}`);
    assert.equal(decodePiece(file.subarray(0, at)), undefined, `cut at ${at}`);
  }
});

/** A depot that counts what is asked of it. */
function counting(far: DepotReader): DepotReader & { asked: ByteRange[] } {
  const asked: ByteRange[] = [];
  return {
    ...far,
    asked,
    get: (name, signal, range) => {
      asked.push(range ?? { start: 0 });
      return far.get(name, signal, range);
    },
  };
}

async function farWith(t: TestContext, dir: string, name: string, bytes: Buffer) {
  const depot = directoryDepot(path.join(dir, "far"));
  const sha256 = (await import("node:crypto")).createHash("sha256").update(bytes).digest("hex");
  await depot.put(
    name,
    {
      size: bytes.length,
      sha256,
      async *open() {
        yield bytes;
      },
    },
    t.signal,
  );
  return counting({ ...depot, kind: "hub" });
}

async function readAll(t: TestContext, depot: DepotReader, name: string, range?: ByteRange): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of depot.get(name, t.signal, range)) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

test("what was read once is read here, and only what is lacking comes from afar", async (t) => {
  const dir = tempDir(t);
  const bytes = randomBytes(3 * PIECE_BYTES + 1000);
  const far = await farWith(t, dir, "packs/a", bytes);
  const near = cacheIn(path.join(dir, "near"));
  const by = new Map<string, number>();
  const depot = cached({ near, far }).counted((kind, n) => by.set(kind, (by.get(kind) ?? 0) + n));
  const middle = { start: PIECE_BYTES + 5, end: 2 * PIECE_BYTES - 5 };
  assert.ok((await readAll(t, depot, "packs/a", middle)).equals(bytes.subarray(middle.start, middle.end)));
  assert.deepEqual(far.asked, [middle]);
  const whole = { start: 0, end: bytes.length };
  assert.ok((await readAll(t, depot, "packs/a", whole)).equals(bytes));
  assert.equal(by.get("hub"), bytes.length);
  assert.equal(by.get("cache"), middle.end - middle.start);
  far.asked.length = 0;
  const later = cached({ near: cacheIn(path.join(dir, "near")), far });
  assert.ok((await readAll(t, later, "packs/a", whole)).equals(bytes));
  assert.deepEqual(far.asked, []);
});

test("a flipped bit on the disk is found and mended from afar", async (t) => {
  const dir = tempDir(t);
  const bytes = randomBytes(2 * PIECE_BYTES);
  const far = await farWith(t, dir, "packs/a", bytes);
  const near = cacheIn(path.join(dir, "near"));
  const depot = cached({ near, far });
  await readAll(t, depot, "packs/a", { start: 0, end: bytes.length });
  far.asked.length = 0;
  const file = path.join(dir, "near/packs/a/P1");
  const damaged = fs.readFileSync(file);
  damaged.writeUInt8(damaged.readUInt8(5000) ^ 1, 5000);
  fs.writeFileSync(file, damaged);
  assert.ok((await readAll(t, depot, "packs/a", { start: 0, end: bytes.length })).equals(bytes));
  assert.deepEqual(far.asked, [{ start: PIECE_BYTES, end: 2 * PIECE_BYTES }]);
});

test("a piece that cannot be read now is told, and stays: the reader has it from afar", async (t) => {
  const dir = tempDir(t);
  const bytes = randomBytes(PIECE_BYTES);
  const far = await farWith(t, dir, "packs/a", bytes);
  const cache = cacheIn(path.join(dir, "near"));
  await cache.write("packs/a", 0, bytes, true);
  const told: unknown[] = [];
  const depot = cached({ near: forgiving(cache, (err) => told.push(err)), far });
  const { readFile } = fs.promises;
  let errno: string | undefined = "EMFILE";
  t.mock.method(fs.promises, "readFile", async (...args: Parameters<typeof readFile>) => {
    if (errno !== undefined && typeof args[0] === "string" && args[0].endsWith("/P0"))
      throw Object.assign(new Error(errno), { code: errno });
    return await readFile(...args);
  });
  assert.ok((await readAll(t, depot, "packs/a")).equals(bytes));
  assert.deepEqual([told.length, far.asked.length], [1, 1]);
  await assert.rejects(cache.check("packs/a", t.signal), { code: "IO" });
  errno = undefined;
  assert.ok(bytes.equals((await cache.read("packs/a", 0, PIECE_BYTES))?.bytes ?? Buffer.alloc(0)));
  errno = "EIO";
  assert.equal(await cache.check("packs/a", t.signal), false, "who looks after it removes what is lost");
  assert.deepEqual(await cache.blobs(), []);
});

test("damage that only the reader can see is forgotten here and read anew from afar", async (t) => {
  const dir = tempDir(t);
  const bytes = randomBytes(PIECE_BYTES);
  const far = await farWith(t, dir, "packs/a", bytes);
  const near = cacheIn(path.join(dir, "near"));
  await near.write("packs/a", 0, randomBytes(PIECE_BYTES), false);
  const depot = cached({ near, far });
  const range = { start: 0, end: PIECE_BYTES };
  assert.ok(!(await readAll(t, depot, "packs/a", range)).equals(bytes));
  assert.ok((await readAll(t, depot.mending, "packs/a", range)).equals(bytes));
  assert.ok((await readAll(t, depot, "packs/a", range)).equals(bytes));
  assert.equal(far.asked.length, 1);
});

test("an index is read from afar each time, and here only while afar cannot be reached", async (t) => {
  const dir = tempDir(t);
  const far = await farWith(t, dir, "index/a", Buffer.from("one"));
  const near = cacheIn(path.join(dir, "near"));
  const depot = cached({ near, far });
  await readAll(t, depot, "index/a");
  await readAll(t, depot, "index/a");
  assert.equal(far.asked.length, 2);
  const gone = {
    ...far,
    // oxlint-disable-next-line require-yield -- it fails before there is anything
    async *get(): AsyncGenerator<Uint8Array, void> {
      throw new SkeinError("HUB_UNREACHABLE", "gone");
    },
  };
  const alone = cached({ near, far: gone });
  assert.equal((await readAll(t, alone, "index/a")).toString(), "one");
  await assert.rejects(readAll(t, alone, "index/b"), { code: "HUB_UNREACHABLE" });
});

test("of an index that was remade shorter or longer, only what it is now is held", async (t) => {
  const near = cacheIn(tempDir(t));
  for (const text of ["a long index with many packs", "a short one", "", "one that is longer again"]) {
    const bytes = Buffer.from(text || "x");
    await near.write("index/a", 0, bytes, true);
    const held = await near.read("index/a", 0, Infinity);
    assert.equal(Buffer.from(held?.bytes ?? []).toString(), bytes.toString());
    assert.ok(held?.ends);
  }
  const long = randomBytes(PIECE_BYTES + 10);
  await near.write("index/a", 0, long.subarray(0, PIECE_BYTES), false);
  await near.write("index/a", PIECE_BYTES, long.subarray(PIECE_BYTES), true);
  assert.equal((await near.read("index/a", 0, Infinity))?.ends, false);
  assert.equal((await near.read("index/a", PIECE_BYTES, Infinity))?.ends, true);
});

test("what was written up to the end is known to end there, whatever part of it is written again", async (t) => {
  const near = cacheIn(tempDir(t));
  const bytes = randomBytes(1000);
  await near.write("packs/a", 0, bytes, true);
  await near.write("packs/a", 100, bytes.subarray(100, 900), false);
  await near.write("packs/a", 100, bytes.subarray(100, 1000), false);
  const held = await near.read("packs/a", 0, Infinity);
  assert.ok(held?.ends === true && bytes.equals(held.bytes));
});

test("a folder that could not be read once is looked at again", async (t) => {
  const dir = path.join(tempDir(t), "cache");
  fs.symlinkSync("cache", dir);
  const near = cacheIn(dir);
  await assert.rejects(near.blobs(), { code: "IO" });
  fs.rmSync(dir);
  await near.write("packs/a", 0, Buffer.from("abc"), true);
  assert.deepEqual(
    (await near.blobs()).map(({ name }) => name),
    ["packs/a"],
  );
});

test("what another process is writing at the moment is left alone", async (t) => {
  const dir = tempDir(t);
  fs.mkdirSync(path.join(dir, "packs/a"), { recursive: true });
  const aside = path.join(dir, "packs/a/P0.0123456789ab.tmp");
  fs.writeFileSync(aside, "half of it");
  assert.deepEqual(await cacheIn(dir).blobs(), []);
  assert.ok(fs.existsSync(aside));
});

test("no name leads out of its folder", async (t) => {
  const dir = path.join(tempDir(t), "cache");
  fs.mkdirSync(path.join(dir, "../outside"), { recursive: true });
  const file = path.join(dir, "../outside/P0");
  fs.writeFileSync(file, "not a piece");
  await assert.rejects(cacheIn(dir).peek("../outside", 0, 10), { code: "BAD_REQUEST" });
  assert.ok(fs.existsSync(file));
});

test("it keeps to its bytes: what was used longest ago goes first", async (t) => {
  const dir = tempDir(t);
  const near = cacheIn(dir, 5 * (PIECE_BYTES + 100));
  for (const name of ["packs/a", "packs/b", "packs/c", "packs/d", "packs/e"])
    await near.write(name, 0, randomBytes(PIECE_BYTES), true);
  assert.ok(await near.read("packs/a", 0, 10));
  await near.write("packs/f", 0, randomBytes(PIECE_BYTES), true);
  assert.deepEqual(
    (await near.blobs()).map(({ name }) => name),
    ["packs/c", "packs/d", "packs/e", "packs/a", "packs/f"],
  );
  const kept = fs.readdirSync(path.join(dir, "packs"));
  assert.deepEqual(kept.sort(), ["a", "c", "d", "e", "f"]);
  const again = await cacheIn(dir).blobs();
  assert.equal(again.length, 5);
  await near.shrinkTo(0);
  assert.deepEqual(fs.readdirSync(path.join(dir, "packs")), []);
});

test("what is larger than the whole cache, or than what it may be at present, drives nothing out", async (t) => {
  const near = cacheIn(tempDir(t), 200_000);
  const names = async (): Promise<string[]> => (await near.blobs()).map(({ name }) => name);
  await near.write("packs/a", 0, randomBytes(50_000), true);
  await near.write("packs/b", 0, randomBytes(PIECE_BYTES), true);
  assert.deepEqual(await names(), ["packs/a"]);
  {
    using _room = await near.giveWay(10);
    await near.write("packs/c", 0, randomBytes(50_000), true);
    assert.deepEqual(await names(), [], "what was needed elsewhere is not taken back");
  }
  await near.write("packs/c", 0, randomBytes(50_000), true);
  assert.deepEqual(await names(), ["packs/c"]);
});

test("what is written at once fills its bytes, and no more, and meets no folder that goes with its last piece", async (t) => {
  const dir = tempDir(t);
  const most = 12;
  const near = cacheIn(dir, most * (PIECE_BYTES + 100));
  const bytes = randomBytes(PIECE_BYTES);
  const lane = async (blob: number): Promise<void> => {
    const writing = new Set<Promise<void>>();
    for (let n = 0; n < 60; n++) {
      const [name, at] = [`packs/${blob}-${Math.floor(n / 6)}`, (n % 6) * PIECE_BYTES];
      const written = near.write(name, at, bytes, false).finally(() => writing.delete(written));
      writing.add(written);
      if (writing.size === 4) await Promise.race(writing);
    }
    await Promise.all(writing);
  };
  await Promise.all([0, 1, 2].map(lane));
  const files = fs.readdirSync(dir, { recursive: true, withFileTypes: true }).filter((one) => one.isFile());
  assert.ok(files.length <= most && files.length >= most - 2, `${files.length} pieces are kept`);
});

test("several processes of one machine keep to its bytes together", async (t) => {
  const dir = tempDir(t);
  let at = Date.now();
  const open = (): BlobCache => blobCache({ dir, maxBytes: 4 * (PIECE_BYTES + 100), now: () => (at += 1) });
  const agent = open();
  for (const name of ["packs/a", "packs/b", "packs/c"])
    await agent.write(name, 0, randomBytes(PIECE_BYTES), true);
  const sync = open();
  for (const name of ["packs/d", "packs/e", "packs/f"])
    await sync.write(name, 0, randomBytes(PIECE_BYTES), true);
  at += 11 * 60_000;
  // It counts again beside its work.
  await eventually("the folder's size", async () => {
    await agent.write("packs/g", 0, randomBytes(PIECE_BYTES), true);
    return fs.readdirSync(path.join(dir, "packs")).length <= 4;
  });
});

test("what is put there and removed while all is counted again is known all the same", async (t) => {
  const dir = tempDir(t);
  let at = Date.now();
  const near = blobCache({ dir, maxBytes: 64 * 2 ** 20, now: () => at });
  for (const name of ["packs/a", "packs/b"]) await near.write(name, 0, randomBytes(100), true);
  at += 11 * 60_000;
  // Both were seen to be there, and are still to be counted, when one goes; what comes is there only afterwards.
  const [seen, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const { lstat, rename } = fs.promises;
  t.mock.method(fs.promises, "lstat", async (file: string) => {
    const stat = await lstat(file);
    if (!file.includes("packs/b")) return stat;
    seen.resolve();
    await goOn.promise;
    return stat;
  });
  t.mock.method(fs.promises, "rename", async (from: string, to: string) => {
    await seen.promise;
    await rename(from, to);
    await near.drop("packs/a");
    goOn.resolve();
    await turn(); // it ends counting before the writer notes what is there
  });
  await near.write("packs/c", 0, randomBytes(100), true);
  assert.deepEqual((await near.blobs()).map(({ name }) => name).toSorted(), ["packs/b", "packs/c"]);
});

test("parts of one piece that are written at once are all kept", async (t) => {
  const near = cacheIn(tempDir(t));
  const bytes = randomBytes(8000);
  const starts = Array.from({ length: 8 }, (_, n) => n * 1000);
  await Promise.all(
    starts.map(async (at) => await near.write("packs/a", at, bytes.subarray(at, at + 1000), at === 7000)),
  );
  const held = await near.read("packs/a", 0, PIECE_BYTES);
  assert.ok(held?.ends === true && bytes.equals(held.bytes));
});

test("a disk that fails is told of once, and the reader gets its bytes all the same", async (t) => {
  const dir = tempDir(t);
  const bytes = randomBytes(4 * PIECE_BYTES);
  const far = await farWith(t, dir, "packs/a", bytes);
  fs.writeFileSync(path.join(dir, "near"), "a file where the folder should be");
  const faults: unknown[] = [];
  const near = forgiving(cacheIn(path.join(dir, "near")), (err) => faults.push(err));
  assert.ok((await readAll(t, cached({ near, far }), "packs/a")).equals(bytes));
  assert.equal(faults.length, 1);
  assert.equal((faults[0] as SkeinError).code, "IO");
});

for (const point of ["cache.written", "cache.renamed"]) {
  test(`killed at ${point}, the cache has the piece or has it not, and sweeps what is left`, async (t) => {
    const dir = tempDir(t);
    const script = childProgram(import.meta.dirname, "write.child.ts");
    const env = { ...process.env, SKEIN_FAULT: point };
    assert.equal(spawnSync(process.execPath, [script, dir], { env, encoding: "utf8" }).signal, "SIGKILL");
    const long = new Date(Date.now() - 120_000);
    for (const file of fs.readdirSync(dir, { recursive: true }))
      fs.utimesSync(path.join(dir, String(file)), long, long);
    const near = cacheIn(dir);
    const held = await near.read("packs/a", 0, PIECE_BYTES);
    assert.equal(held?.bytes.length, point === "cache.renamed" ? 300 : undefined);
    const files = fs.readdirSync(path.join(dir, "packs"), { recursive: true });
    assert.ok(!files.some((file) => String(file).endsWith(".tmp")), String(files));
  });
}

test("who reads from afar waits for no disk, and what is forgotten meanwhile does not come back", async (t) => {
  const dir = tempDir(t);
  const bytes = randomBytes(3 * PIECE_BYTES + 7);
  const far = await farWith(t, dir, "packs/a", bytes);
  const disk = Promise.withResolvers<void>();
  const held = cacheIn(path.join(dir, "near"));
  const near: BlobCache = {
    ...held,
    dir: held.dir,
    maxBytes: held.maxBytes,
    read: async (...what) => await held.read(...what),
    gapEnd: async (...what) => await held.gapEnd(...what),
    write: async (...what) => {
      await disk.promise;
      await held.write(...what);
    },
  };
  assert.ok((await readAll(t, cached({ near, far, behind: 4 }), "packs/a")).equals(bytes));
  assert.deepEqual(await held.blobs(), []);
  disk.resolve();
  await new Promise(setImmediate);
  await held.drop("packs/a");
  assert.equal(await held.read("packs/a", 0, PIECE_BYTES), undefined);
  assert.deepEqual(await held.blobs(), []);
});

test("a blob that far does not have is asked for once", async (t) => {
  const dir = tempDir(t);
  const far = await farWith(t, dir, "packs/a", randomBytes(10));
  const depot = cached({ near: cacheIn(path.join(dir, "near")), far });
  for (const reader of [depot, depot.mending]) {
    await assert.rejects(readAll(t, reader, "packs/b"), { code: "BLOB_MISSING" });
  }
  assert.equal(far.asked.length, 1);
  await assert.rejects(readAll(t, depot, "packs/b"), { code: "BLOB_MISSING" });
  assert.equal(far.asked.length, 2, "it may have come meanwhile");
});
