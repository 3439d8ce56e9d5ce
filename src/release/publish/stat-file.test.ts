import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { digestOf, type ChunkId } from "../../lib/text/ids.ts";
import { tempDir } from "../release.fixture.ts";
import { encodeStatFile, StatFileReader, type Remembered } from "./stat-file.ts";

const digest = digestOf("some content");
const chunk = { id: digest as string as ChunkId, length: 65_536 };

const one = (at: string, chunks = 0): Remembered => ({
  path: at,
  stamp: `${at.length} 1.5 2.25 7`,
  cut: { sha256: digest, list: Array.from({ length: chunks }, () => chunk) },
});

function written(t: TestContext, files: readonly Remembered[]): string {
  const file = path.join(tempDir(t), "stat");
  fs.writeFileSync(file, Buffer.concat([...encodeStatFile(files)]));
  return file;
}

/** What is read of the files that are asked for in turn, or undefined where the file is not as it was written. */
function read(file: string, asked: readonly Remembered[]): Remembered[] | undefined {
  using reader = new StatFileReader(file);
  if (!reader.begin()) return undefined;
  const found: Remembered[] = [];
  for (; !reader.isAtEnd; reader.next()) {
    const next = asked[found.length];
    if (next === undefined || !reader.isOf(next.path) || !reader.hasStamp(next.stamp)) return undefined;
    found.push({ path: next.path, stamp: next.stamp, cut: reader.cut });
  }
  return reader.isWhole && reader.files === found.length ? found : undefined;
}

test("what is written is read, over windows and with lists longer than one", (t) => {
  const many = Array.from({ length: 4000 }, (_, n) => one(`lib/größe-${String(n).padStart(5, "0")}`, n % 3));
  for (const files of [[], [one("a")], [one("a", 20_000), one("b"), one("c", 9000)], many])
    assert.deepEqual(read(written(t, files), files), files);
});

test("a line is of its own path and stamp, and of no other", (t) => {
  using reader = new StatFileReader(written(t, [one("lib/a.js")]));
  assert.ok(reader.begin());
  for (const other of ["lib/a", "lib/a.js.map", "lib/b.js", ""])
    assert.equal(reader.isOf(other), false, other);
  assert.ok(reader.isOf("lib/a.js") && reader.hasStamp("8 1.5 2.25 7"));
  for (const other of ["8 1.5 2.25", "8 1.5 2.25 70", "", "9"])
    assert.equal(reader.hasStamp(other), false, other);
  assert.deepEqual(
    ["lib", "lib/a.js", "lib/a.js.map", "src"].map((other) => reader.isBefore(other)),
    [false, false, true, true],
  );
});

test("a flipped bit anywhere, or an end that is missing, shows", (t) => {
  const files = [one("a.txt"), one("lib/b.txt", 2), one("lib/c.txt")];
  const file = written(t, files);
  const whole = fs.readFileSync(file);
  for (let at = 0; at < whole.length; at++) {
    const flipped = Buffer.from(whole);
    flipped[at] = (flipped[at] ?? 0) ^ 1;
    fs.writeFileSync(file, flipped);
    assert.equal(read(file, files), undefined, `byte ${at}`);
    fs.writeFileSync(file, whole.subarray(0, at));
    assert.equal(read(file, files), undefined, `${at} bytes`);
  }
});
