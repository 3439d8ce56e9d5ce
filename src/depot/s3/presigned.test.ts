import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { digestOf } from "../../lib/text/ids.ts";
import { openPresigned, presignAll } from "./presigned.ts";
import { s3Depot } from "./s3-depot.ts";
import { s3Documents } from "./s3-documents.ts";
import { freshBucket, sharedS3Server } from "./s3-server.fixture.ts";

const server = sharedS3Server({ conditional: false });

function fileOf(t: TestContext, content: unknown): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-book-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  const file = path.join(dir, "book.json");
  fs.writeFileSync(file, JSON.stringify(content));
  return file;
}

test("who holds a list of addresses reads the bucket without keys, and only reads", async (t) => {
  const bucket = await freshBucket(t, await server());
  const bytes = Buffer.alloc(50_000, "a blob ");
  const blob = { size: bytes.length, sha256: digestOf(bytes), open: () => pieces(bytes) };
  await s3Depot(bucket, "").put("packs/a", blob, t.signal);
  await s3Depot(bucket, "").put("upkeep/x", blob, t.signal);
  await s3Documents(bucket, "").write("releases/a b/ä.json", Buffer.from("document"), {}, t.signal);
  const book = await presignAll(bucket, 600, systemClock, t.signal);
  assert.deepEqual(book.objects.map(({ key }) => key).sort(), ["packs/a", "releases/a b/ä.json"]);

  using reader = await openPresigned(fileOf(t, book), {}, { clock: systemClock });
  const [depot, documents] = [s3Depot(reader, ""), s3Documents(reader, "")];
  const read = await Array.fromAsync(depot.get("packs/a", t.signal, { start: 7, end: 40_000 }));
  assert.ok(Buffer.concat(read).equals(bytes.subarray(7, 40_000)));
  assert.deepEqual([...(await depot.has(["packs/a", "packs/b"], t.signal))], ["packs/a"]);
  await assert.rejects(Array.fromAsync(depot.get("packs/b", t.signal)), { code: "BLOB_MISSING" });
  const listed = await Array.fromAsync(documents.list("releases/", t.signal));
  assert.deepEqual(
    listed.map(({ name }) => name),
    ["releases/a b/ä.json"],
  );
  const document = await documents.read("releases/a b/ä.json", undefined, t.signal);
  assert.ok(document !== undefined && document !== "same");
  assert.equal(Buffer.from(document.bytes).toString(), "document");
  assert.equal(await documents.read("releases/a b/ä.json", document.etag, t.signal), "same");
  assert.equal(await documents.read("none", undefined, t.signal), undefined);
  for (const change of [
    documents.write("x", Buffer.from("x"), {}, t.signal),
    documents.delete("releases/a b/ä.json", t.signal),
    depot.put("packs/c", blob, t.signal),
  ]) {
    await assert.rejects(change, { code: "DEPOT_DENIED" });
  }
});

async function* pieces(bytes: Buffer): AsyncGenerator<Buffer> {
  yield await Promise.resolve(bytes);
}

test("a list that has expired, was tampered with or is none is refused, and no address is repeated", async (t) => {
  const bucket = await freshBucket(t, await server());
  await s3Documents(bucket, "").write("a", Buffer.from("a"), {}, t.signal);
  await s3Documents(bucket, "").write("b", Buffer.from("b"), {}, t.signal);
  const book = await presignAll(bucket, 600, systemClock, t.signal);
  const open = async (content: unknown) =>
    await openPresigned(fileOf(t, content), {}, { clock: systemClock });
  await assert.rejects(open({ ...book, expires: "2020-01-01T00:00:00Z" }), {
    code: "DEPOT_CREDENTIALS",
    message: /expired at 2020-01-01T00:00:00Z, and this machine's clock says \d{4}-/,
  });
  await assert.rejects(open({ ...book, format: 2 }), (err: Error & { code?: string }) => {
    return err.code === "DEPOT_SETTINGS" && !JSON.stringify(err).includes("X-Amz-Signature");
  });
  await assert.rejects(openPresigned("/nowhere/book.json", {}, { clock: systemClock }), { code: "IO" });
  const [a, b] = book.objects.map(({ url }) => new URL(url)) as [URL, URL];
  a.searchParams.set("X-Amz-Signature", b.searchParams.get("X-Amz-Signature") ?? "");
  const objects = book.objects.map((object, i) => (i === 0 ? { ...object, url: a.href } : object));
  using forged = await open({ ...book, objects });
  const reading = s3Documents(forged, "").read(book.objects[0]?.key ?? "", undefined, t.signal);
  await assert.rejects(reading, (err: Error & { code?: string }) => {
    return err.code === "DEPOT_DENIED" && !err.message.includes("X-Amz-Signature");
  });
});

test("a list of more addresses than an answer may be long is read whole (long)", async (t) => {
  const ids = Array.from({ length: 40_000 }, (_, n) => String(n).padStart(64, "0"));
  const objects = ids.map((id) => ({
    key: `packs/${id}`,
    url: `http://127.0.0.1:9/${id}`,
    size: 1,
    modified: "2026-11-28T03:15:02.917Z",
    etag: id.slice(0, 32),
  }));
  const book = { format: 1, expires: "2100-01-01T00:00:00Z", objects };
  using reader = await openPresigned(fileOf(t, book), {}, { clock: systemClock });
  const names = await Array.fromAsync(s3Depot(reader, "").list("packs/", t.signal));
  assert.deepEqual(
    names,
    ids.map((id) => `packs/${id}`),
  );
});
