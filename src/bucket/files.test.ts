import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test, type TestContext } from "node:test";
import { bytesBlob } from "../release/fetch/blobs.ts";
import { freshBucket, sharedS3Server } from "../depot/s3/s3-server.fixture.ts";
import { folder } from "./bucket.fixture.ts";
import { folderFiles, topText, type BucketFiles } from "./files.ts";
import { serverFiles } from "./server-files.ts";

const server = sharedS3Server({ conditional: false });

const KINDS: readonly [string, (t: TestContext) => Promise<BucketFiles>][] = [
  ["a folder", async (t) => await Promise.resolve(folderFiles(folder(t)))],
  ["an S3 server", async (t) => serverFiles(await freshBucket(t, await server()))],
];

for (const [kind, open] of KINDS) {
  test(`${kind}: files at the top are written, listed, read, replaced and deleted, by FTL's names`, async (t) => {
    const files = await open(t);
    const { signal } = t;
    const archive = randomBytes(300_000);
    const name = "my_site.2014061252143a_.tar.gz";
    assert.deepEqual(await files.list("", signal), []);
    assert.equal(await topText(files, "my_site.current", signal), undefined);
    await files.put(name, bytesBlob(archive), signal);
    await files.put("my_site.current", bytesBlob(Buffer.from("before")), signal);
    await files.put("my_site.current", bytesBlob(Buffer.from("my_site.2014061252143a_")), signal);
    await files.put("other.rev", bytesBlob(Buffer.alloc(0)), signal);
    assert.deepEqual(await files.list("my_site.", signal), [name, "my_site.current"]);
    assert.ok(Buffer.concat(await Array.fromAsync(files.get(name, signal))).equals(archive));
    assert.equal(await topText(files, "my_site.current", signal), "my_site.2014061252143a_");
    assert.equal(await topText(files, "other.rev", signal), "");
    for (let n = 0; n < 2; n++) await files.delete(name, signal);
    assert.deepEqual(await files.list("", signal), ["my_site.current", "other.rev"]);
    await assert.rejects(Array.fromAsync(files.get(name, signal)), { code: "BLOB_MISSING" });
  });
}

test("a line that comes in pieces is read whole, and a long file is not", async (t) => {
  const files = folderFiles(folder(t));
  const inPieces = (pieces: readonly string[]): BucketFiles => ({
    ...files,
    async *get() {
      for (const piece of pieces) yield await Promise.resolve(Buffer.from(piece));
    },
  });
  assert.equal(
    await topText(inPieces(["my_site.20140", "61252143a_"]), "my_site.rev", t.signal),
    "my_site.2014061252143a_",
  );
  assert.equal(
    (await topText(inPieces(Array.from({ length: 50 }, () => "x".repeat(100))), "a", t.signal))?.length,
    1024,
  );
});
