import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { digestOf } from "../../lib/text/ids.ts";
import { noise, tempDir } from "../release.fixture.ts";
import { FreshFiles } from "./fresh-files.ts";

const MIB = 1024 * 1024;

test("of a large content its zeros take no room on the disk", async (t) => {
  const content = Buffer.concat([Buffer.alloc(2 * MIB), noise(100), Buffer.alloc(5 * MIB - 100)]);
  using sink = new FreshFiles(path.join(tempDir(t), "fresh"));
  sink.begin(0, content.length);
  for (let at = 0; at < content.length;) {
    const length = content.copy(await sink.space(), 0, at);
    sink.filled(length, 0);
    at += length;
  }
  const digest = await sink.end();
  assert.equal(digest, digestOf(content));
  const file = sink.files.get(digest) ?? "";
  assert.ok(fs.readFileSync(file).equals(content));
  assert.ok(fs.statSync(file).blocks * 512 <= MIB + 8192);
});
