import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import { openLog, rotate, tailOf } from "./log-file.ts";

test("a log that its writer stretches without writing is not copied hole by hole", (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "sk-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  const log = { file: path.join(dir, "web.log"), maxBytes: 64 * 1024, keep: 2 };
  fs.writeFileSync(log.file, "first\n");
  fs.truncateSync(log.file, 256 * 1024 * 1024);
  fs.appendFileSync(log.file, "last\n");
  rotate(log);
  assert.equal(fs.statSync(log.file).size, 0);
  const { size, blocks } = fs.statSync(`${log.file}.1`);
  assert.ok(
    size <= 4 * log.maxBytes && blocks * 512 <= 8 * log.maxBytes,
    `${size} bytes in ${blocks} blocks`,
  );
  assert.match(fs.readFileSync(`${log.file}.1`, "utf8"), /last\n$/);
});

test("a log a little over its bound is kept whole", (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "sk-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  const log = { file: path.join(dir, "web.log"), maxBytes: 10, keep: 2 };
  for (const text of ["one one one\n", "two two two\n", "three three\n"]) {
    fs.writeFileSync(log.file, text);
    rotate(log);
  }
  assert.equal(fs.readFileSync(`${log.file}.1`, "utf8"), "three three\n");
  assert.equal(fs.readFileSync(`${log.file}.2`, "utf8"), "two two two\n");
  assert.equal(fs.existsSync(`${log.file}.3`), false);
});

test("of an instance that ends before anybody looks, however often, the log stays within its bounds", (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "sk-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  const log = { file: path.join(dir, "web.log"), maxBytes: 1000, keep: 2 };
  for (let life = 0; life < 20; life++) {
    const fd = openLog(log);
    fs.writeSync(fd, "x".repeat(600));
    fs.closeSync(fd);
  }
  const sizes = fs.readdirSync(dir).map((name) => fs.statSync(path.join(dir, name)).size);
  assert.equal(sizes.length, 3);
  assert.ok(Math.max(...sizes) <= 1600, sizes.join());
});

test("a rotated log is copied to its last byte, however many pieces that takes, and not kept where none is", (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "sk-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  const log = { file: path.join(dir, "web.log"), maxBytes: 1024 * 1024, keep: 2 };
  const text = Buffer.alloc(2.5 * 1024 * 1024, "0123456789\n");
  fs.writeFileSync(log.file, text);
  rotate(log);
  assert.ok(fs.readFileSync(`${log.file}.1`).equals(text));
  fs.writeFileSync(log.file, text.subarray(0, log.maxBytes));
  rotate(log);
  assert.equal(fs.statSync(log.file).size, log.maxBytes, "it is no larger than its bound");
  fs.writeFileSync(log.file, text);
  rotate({ ...log, keep: 0 });
  assert.deepEqual(fs.readdirSync(dir).sort(), ["web.log", "web.log.1"]);
  assert.equal(fs.statSync(log.file).size, 0);
});

test("of a log the last lines are told, and none of the instance before", (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "sk-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  const file = path.join(dir, "web.log");
  assert.deepEqual(tailOf(file, 3, 0), []);
  fs.writeFileSync(file, "");
  assert.deepEqual(tailOf(file, 3, 0), []);
  const before = "an earlier one's\n";
  fs.writeFileSync(file, `${before}1\n2\n3\n4\n`);
  assert.deepEqual(tailOf(file, 3, 0), ["2", "3", "4"]);
  assert.deepEqual(tailOf(file, 10, before.length), ["1", "2", "3", "4"]);
  fs.writeFileSync(file, "rotated meanwhile\n");
  assert.deepEqual(tailOf(file, 3, 1000), ["rotated meanwhile"]);
  fs.writeFileSync(file, `${"x".repeat(100_000)}\nlast\n`);
  const [long = "", last] = tailOf(file, 3, 0);
  assert.deepEqual([long.length + 6, last], [65_536, "last"]);
});
