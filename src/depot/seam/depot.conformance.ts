import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test, type TestContext } from "node:test";
import type { BlobSource, ByteRange, Depot, DepotReader, PrunableDepot } from "./depot.ts";

/** What every depot keeps to, whatever it is made of. `open` gives an empty one that ends with the test. */
export function depotConformance(kind: string, open: (t: TestContext) => Promise<Depot>): void {
  test(`${kind}: gives back what was put, whole and by ranges`, async (t) => {
    const depot = await open(t);
    const bytes = pattern(700_000);
    await depot.put("packs/a", blobOf(bytes), t.signal);
    assert.ok((await readAll(t, depot, "packs/a")).equals(bytes));
    const ranges: ByteRange[] = [
      { start: 0, end: 1 },
      { start: 5 },
      { start: 300_000, end: 600_000 },
      { start: 699_999, end: 700_000 },
      { start: 699_000, end: 800_000 },
    ];
    for (const range of ranges) {
      const expected = bytes.subarray(range.start, range.end);
      assert.ok((await readAll(t, depot, "packs/a", range)).equals(expected), JSON.stringify(range));
    }
  });

  test(`${kind}: keeps an empty blob`, async (t) => {
    const depot = await open(t);
    await depot.put("empty", blobOf(Buffer.alloc(0)), t.signal);
    assert.equal((await readAll(t, depot, "empty")).length, 0);
    assert.deepEqual([...(await depot.has(["empty"], t.signal))], ["empty"]);
  });

  test(`${kind}: says which names are there, also when asked for none or many`, async (t) => {
    const depot = await open(t);
    await depot.put("packs/a", blobOf(pattern(10)), t.signal);
    await depot.put("packs/b", blobOf(pattern(11)), t.signal);
    assert.deepEqual([...(await depot.has([], t.signal))], []);
    const many = Array.from({ length: 300 }, (_, i) => `packs/${i}`);
    const there = await depot.has(["packs/b", ...many, "packs/a", "packs/a"], t.signal);
    assert.deepEqual([...there].sort(), ["packs/a", "packs/b"]);
  });

  test(`${kind}: a blob that is not there is BLOB_MISSING`, async (t) => {
    const depot = await open(t);
    await depot.put("packs/a", blobOf(pattern(10)), t.signal);
    for (const name of ["packs/b", "packs", "packs/a/c"]) {
      await assert.rejects(readAll(t, depot, name), { code: "BLOB_MISSING" }, name);
    }
  });

  test(`${kind}: lists names under a prefix, sorted`, async (t) => {
    const depot = await open(t);
    for (const name of ["packs/b", "packs/a", "index/x", "packs/deep/er/c", "packs-not"]) {
      await depot.put(name, blobOf(Buffer.from(name)), t.signal);
    }
    assert.deepEqual(await names(t, depot, "packs/"), ["packs/a", "packs/b", "packs/deep/er/c"]);
    assert.deepEqual(await names(t, depot, "packs/deep/e"), ["packs/deep/er/c"]);
    assert.deepEqual(await names(t, depot, "none/"), []);
    assert.equal((await names(t, depot, "")).length, 5);
  });

  test(`${kind}: putting the same again changes nothing, another content replaces`, async (t) => {
    const depot = await open(t);
    await depot.put("index/a", blobOf(Buffer.from("one")), t.signal);
    await depot.put("index/a", blobOf(Buffer.from("one")), t.signal);
    assert.equal((await readAll(t, depot, "index/a")).toString(), "one");
    await depot.put("index/a", blobOf(Buffer.from("two")), t.signal);
    assert.equal((await readAll(t, depot, "index/a")).toString(), "two");
  });

  test(`${kind}: deletes, and deleting again is no fault`, async (t) => {
    const depot = await open(t);
    await depot.put("packs/a", blobOf(pattern(10)), t.signal);
    await depot.delete("packs/a", t.signal);
    await depot.delete("packs/a", t.signal);
    assert.equal((await depot.has(["packs/a"], t.signal)).size, 0);
    await assert.rejects(readAll(t, depot, "packs/a"), { code: "BLOB_MISSING" });
  });

  test(`${kind}: refuses bytes that do not hash to what was announced`, async (t) => {
    const depot = await open(t);
    const blob = { ...blobOf(pattern(100_000)), sha256: "0".repeat(64) };
    await assert.rejects(depot.put("packs/a", blob, t.signal), { code: "CHUNK_CORRUPT" });
    assert.equal((await depot.has(["packs/a"], t.signal)).size, 0);
  });

  test(`${kind}: goes on with an upload that was cut, from where it was cut`, async (t) => {
    const depot = await open(t);
    const bytes = pattern(600_000);
    const offsets: number[] = [];
    let cut = true;
    const blob: BlobSource = {
      ...blobOf(bytes),
      async *open(offset) {
        offsets.push(offset);
        for (let at = offset; at < bytes.length; at += 50_000) {
          if (cut && at >= 400_000) {
            cut = false;
            throw new Error("the line was cut");
          }
          yield bytes.subarray(at, Math.min(at + 50_000, bytes.length));
        }
      },
    };
    await depot.put("packs/a", blob, t.signal).catch((err: unknown) => assert.match(String(err), /cut/));
    await depot.put("packs/a", blob, t.signal);
    assert.ok((await readAll(t, depot, "packs/a")).equals(bytes));
    assert.ok((offsets.at(-1) ?? 0) > 0, `opened at ${offsets.join(", ")}`);
  });

  test(`${kind}: nobody sees a blob before it is whole`, async (t) => {
    const depot = await open(t);
    const bytes = pattern(300_000);
    const seen: boolean[] = [];
    const blob: BlobSource = {
      ...blobOf(bytes),
      async *open(offset) {
        for (let at = offset; at < bytes.length; at += 100_000) {
          seen.push((await depot.has(["packs/a"], t.signal)).size > 0);
          yield bytes.subarray(at, at + 100_000);
        }
      },
    };
    await depot.put("packs/a", blob, t.signal);
    assert.ok(seen.length >= 3 && seen.every((there) => !there));
  });

  test(`${kind}: two who put one blob at once both succeed`, async (t) => {
    const depot = await open(t);
    const bytes = pattern(400_000);
    await Promise.all([1, 2, 3].map(async () => await depot.put("packs/a", blobOf(bytes), t.signal)));
    assert.ok((await readAll(t, depot, "packs/a")).equals(bytes));
  });

  test(`${kind}: names that are none are refused`, async (t) => {
    const depot = await open(t);
    for (const name of ["", "/a", "a/", "a//b", "../a", "a/../b", "./a", "A", "a b", "ä", "a".repeat(201)]) {
      await assert.rejects(depot.put(name, blobOf(pattern(3)), t.signal), JSON.stringify(name));
      await assert.rejects(readAll(t, depot, name), JSON.stringify(name));
    }
  });

  test(`${kind}: a signal ends what is under way`, async (t) => {
    const depot = await open(t);
    await depot.put("packs/a", blobOf(pattern(2_000_000)), t.signal);
    const stop = new AbortController();
    const reading = (async () => {
      for await (const piece of depot.get("packs/a", stop.signal)) {
        assert.ok(piece.length > 0);
        stop.abort(new Error("enough"));
      }
    })();
    await assert.rejects(reading);
    const aborted = AbortSignal.abort(new Error("enough"));
    await assert.rejects(depot.put("packs/b", blobOf(pattern(100)), aborted));
    assert.equal((await depot.has(["packs/b"], t.signal)).size, 0);
  });
}

/** What a depot that can be tidied up keeps to beside. */
export function prunableConformance(kind: string, open: (t: TestContext) => Promise<PrunableDepot>): void {
  test(`${kind}: gives a blob another name, over what had it`, async (t) => {
    const depot = await open(t);
    const [a, b] = [pattern(1000), pattern(2000)];
    await depot.put("packs/a", blobOf(a), t.signal);
    await depot.put("old/x/packs/a", blobOf(b), t.signal);
    await depot.rename("packs/a", "old/x/packs/a", t.signal);
    assert.deepEqual(await names(t, depot, ""), ["old/x/packs/a"]);
    assert.ok((await readAll(t, depot, "old/x/packs/a")).equals(a));
    await depot.rename("old/x/packs/a", "packs/a", t.signal);
    assert.deepEqual(await names(t, depot, ""), ["packs/a"]);
    await assert.rejects(depot.rename("packs/none", "packs/b", t.signal), { code: "BLOB_MISSING" });
  });

  test(`${kind}: tells the sizes of what it lists`, async (t) => {
    const depot = await open(t);
    for (const size of [0, 700, 300_000]) await depot.put(`packs/${size}`, blobOf(pattern(size)), t.signal);
    const sizes = await Array.fromAsync(depot.entries("packs/", t.signal));
    assert.deepEqual(sizes, [
      { name: "packs/0", sizeBytes: 0 },
      { name: "packs/300000", sizeBytes: 300_000 },
      { name: "packs/700", sizeBytes: 700 },
    ]);
  });
}

function pattern(length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 8) * 7 + (i >> 16)) & 255;
  return bytes;
}

function blobOf(bytes: Buffer): BlobSource {
  return {
    size: bytes.length,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    async *open(offset) {
      for (let at = offset; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
    },
  };
}

async function readAll(t: TestContext, depot: DepotReader, name: string, range?: ByteRange): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of depot.get(name, t.signal, range)) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function names(t: TestContext, depot: DepotReader, prefix: string): Promise<string[]> {
  const found: string[] = [];
  for await (const name of depot.list(prefix, t.signal)) found.push(name);
  return found;
}
