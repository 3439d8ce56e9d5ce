import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { compressFrame, FRAME_BYTES, inflate } from "./pack.ts";

const SRC = path.resolve(import.meta.dirname, "../..");
/** Code as people write it: this project's own. */
const TEXT = Buffer.concat(
  fs.globSync("**/*.ts", { cwd: SRC }).map((file) => fs.readFileSync(path.join(SRC, file))),
).subarray(0, FRAME_BYTES);

test("a frame comes back as it was, however it was compressed", () => {
  for (const effort of ["hard", "quick"] as const) {
    for (const chunks of [1, 16, 1000]) {
      assert.deepEqual(inflate(compressFrame(TEXT, chunks, effort), TEXT.length), TEXT);
    }
  }
});

test("only in quick frames of small files bytes are given for time", () => {
  const size = (chunks: number, effort: "hard" | "quick"): number =>
    compressFrame(TEXT, chunks, effort).length;
  assert.equal(size(1000, "hard"), size(16, "hard"));
  assert.ok(size(16, "quick") < size(1000, "quick"));
  assert.ok(size(1000, "quick") < 1.2 * size(16, "quick"));
  assert.ok(size(16, "hard") < size(16, "quick"));
});
