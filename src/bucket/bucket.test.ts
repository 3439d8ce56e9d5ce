import assert from "node:assert/strict";
import path from "node:path";
import { test } from "node:test";
import { openBucket } from "./bucket.ts";
import { folder } from "./bucket.fixture.ts";
import { readRoot } from "./entries.ts";

test("a folder that is not there is no empty bucket for who reads, and made for who writes", async (t) => {
  const dir = path.join(folder(t), "not-mounted");
  const options = { env: {}, signal: t.signal };
  using reading = await openBucket(dir, { ...options, writing: false });
  await assert.rejects(readRoot(reading.documents, undefined, t.signal), {
    code: "BUCKET_NOT_FOUND",
    data: { path: dir },
  });
  using writing = await openBucket(`dir:${dir}`, { ...options, writing: true });
  assert.notEqual(await readRoot(writing.documents, undefined, t.signal), "same");
  await writing.documents.write("some/name", Buffer.from("x"), {}, t.signal);
  assert.notEqual(await readRoot(reading.documents, undefined, t.signal), "same");
});
