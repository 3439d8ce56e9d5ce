import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { EarlyFlushes } from "./flush.ts";
import { tempDir } from "../release.fixture.ts";

const MUCH = 128 * 1024 * 1024;

test("what a flush on the way could not write is told at the end, though later ones succeed", async (t) => {
  const dir = path.join(tempDir(t), "stage");
  const flushes = new EarlyFlushes(dir, t.signal);
  flushes.written(MUCH); // the folder is not there: the flush fails
  await assert.rejects(flushes.end(), { code: "IO" });
  fs.mkdirSync(dir);
  flushes.written(MUCH);
  await assert.rejects(flushes.end(), { code: "IO" });
});

test("a few megabytes are not flushed on the way", async (t) => {
  const flushes = new EarlyFlushes(path.join(tempDir(t), "not-there"), t.signal);
  for (let n = 0; n < 4; n++) flushes.written(1024 * 1024);
  await flushes.end();
});
