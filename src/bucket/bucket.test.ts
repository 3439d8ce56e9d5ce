import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { absoluteAddress, openBucket } from "./bucket.ts";
import { folder } from "./bucket.fixture.ts";
import { directoryDepot } from "../depot/directory/directory.ts";
import { digestOf } from "../lib/text/ids.ts";
import { readRoot } from "./entries.ts";

test("a folder that is not there is no empty bucket for who reads, and made for who writes", async (t) => {
  const dir = path.join(folder(t), "not-mounted");
  const options = { env: {}, signal: t.signal };
  using reading = await openBucket(dir, { ...options, writing: false });
  await assert.rejects(readRoot(reading.documents, undefined, t.signal), {
    code: "BUCKET_NOT_FOUND",
    data: { path: dir },
  });
  await assert.rejects(reading.files.list("", t.signal), { code: "BUCKET_NOT_FOUND" });
  using tidying = await openBucket(dir, { ...options, writing: true, isThere: true });
  await assert.rejects(readRoot(tidying.documents, undefined, t.signal), { code: "BUCKET_NOT_FOUND" });
  using writing = await openBucket(`dir:${dir}`, { ...options, writing: true });
  assert.notEqual(await readRoot(writing.documents, undefined, t.signal), "same");
  await writing.documents.write("some/name", Buffer.from("x"), {}, t.signal);
  assert.notEqual(await readRoot(reading.documents, undefined, t.signal), "same");
  assert.deepEqual(await reading.files.list("", t.signal), await writing.files.list("", t.signal));
});

test("an address without a path is not the folder one is in", async (t) => {
  await assert.rejects(openBucket("dir:", { env: {}, writing: true, signal: t.signal }), { code: "USAGE" });
  assert.throws(() => absoluteAddress("dir:"), { code: "USAGE" });
  assert.equal(absoluteAddress("dir:."), `dir:${process.cwd()}`);
});

test("what lies in a folder is read and gone on with by whom the folder lets, and a hub's depot by its user", async (t) => {
  const dir = path.join(folder(t), "bucket");
  using bucket = await openBucket(dir, { env: {}, writing: true, signal: t.signal });
  await bucket.documents.write("some/name", Buffer.from("x"), {}, t.signal);
  const own = path.join(dir, "own");
  const bytes = Buffer.from("x");
  const blob = { size: 1, sha256: digestOf(bytes), open: () => once(bytes) };
  for (const depot of [bucket.depot, directoryDepot(own)]) await depot.put("packs/a", blob, t.signal);
  const mask = process.umask();
  const modeOf = (name: string): number => fs.statSync(path.join(dir, name)).mode & 0o777;
  const found = ["blobs/packs/a", "uploads", ".lock", "own/blobs/packs/a", "own/uploads"].map(modeOf);
  assert.deepEqual(found, [0o666 & ~mask, 0o777 & ~mask, 0o666 & ~mask, 0o600, 0o700]);
});

async function* once(bytes: Buffer): AsyncGenerator<Buffer, void> {
  yield await Promise.resolve(bytes);
}
