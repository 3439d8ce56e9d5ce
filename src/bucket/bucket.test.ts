import assert from "node:assert/strict";
import path from "node:path";
import { test } from "node:test";
import { openBucket } from "./bucket.ts";

test("a bucket may be named again as it was: with the server that was meant, from any folder", async (t) => {
  const open = async (address: string): Promise<readonly string[]> => {
    using bucket = await openBucket(address, { env: {}, writing: false, signal: t.signal });
    return [bucket.name, bucket.address];
  };
  const far = "s3://releases/web?endpoint=https://s3.example.org&style=path";
  assert.deepEqual(await open(far), ["s3://releases/web", far]);
  const here = `dir:${path.resolve("some/folder")}`;
  assert.deepEqual(await open("dir:some/folder"), [here, here]);
  assert.deepEqual(await open("./some/folder"), [here, here]);
});
