import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { atEnd } from "../testing/at-end.fixture.ts";
import { keepNewestFiles } from "./newest-files.ts";

/** Files of ten bytes, named after when they were written. */
function folder(t: TestContext, count: number): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-newest-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  for (let n = 1; n <= count; n++) {
    fs.writeFileSync(path.join(dir, String(n)), "0123456789");
    fs.utimesSync(path.join(dir, String(n)), n, n);
  }
  return dir;
}

const inOrder = (dir: string): number[] =>
  fs
    .readdirSync(dir)
    .map(Number)
    .sort((a, b) => a - b);

test("within its bounds a folder stays as it is", async (t) => {
  const dir = folder(t, 6);
  await keepNewestFiles(dir, { files: 6, bytes: 60 });
  assert.equal(inOrder(dir).length, 6);
  await keepNewestFiles(path.join(dir, "nowhere"), { files: 6, bytes: 60 });
});

test("beyond one of them, half of it is left of what was written last", async (t) => {
  const [many, much] = [folder(t, 7), folder(t, 6)];
  await keepNewestFiles(many, { files: 6, bytes: Infinity });
  assert.deepEqual(inOrder(many), [5, 6, 7]);
  await keepNewestFiles(much, { files: 6, bytes: 40 });
  assert.deepEqual(inOrder(much), [5, 6]);
});

test("folders in it are nobody's to remove", async (t) => {
  const dir = folder(t, 7);
  fs.mkdirSync(path.join(dir, "0"));
  await keepNewestFiles(dir, { files: 2, bytes: Infinity });
  assert.deepEqual(inOrder(dir), [0, 7]);
});
