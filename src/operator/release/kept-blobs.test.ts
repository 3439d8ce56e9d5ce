import assert from "node:assert/strict";
import { mkdirSync, readdirSync, utimesSync, writeFileSync, truncateSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { tempDir } from "../../release/release.fixture.ts";
import { keptBlobs } from "./kept-blobs.ts";

const name = (folder: string, n: number): string => `${folder}/${String(n).padStart(64, "0")}`;

test("what was kept is there for the next command, but for an index, which may change under its name", async (t) => {
  const folder = path.join(tempDir(t), "blobs");
  await keptBlobs(folder).write(name("packs", 1), Buffer.from("one"));
  await keptBlobs(folder).write(name("index", 1), Buffer.from("two"));
  assert.equal(Buffer.from((await keptBlobs(folder).read(name("packs", 1))) ?? []).toString(), "one");
  assert.equal(await keptBlobs(folder).read(name("index", 1)), undefined);
  assert.equal(await keptBlobs(folder).read(name("rows", 1)), undefined);
});

test("a file that was cut is none", async (t) => {
  const folder = path.join(tempDir(t), "blobs");
  const kept = keptBlobs(folder);
  await kept.write(name("rows", 1), Buffer.from("a table"));
  truncateSync(path.join(folder, readdirSync(folder)[0] ?? ""), 35);
  assert.equal(await kept.read(name("rows", 1)), undefined);
});

test("the oldest give way, and a folder that cannot be written keeps nothing", async (t) => {
  const folder = path.join(tempDir(t), "blobs");
  mkdirSync(folder);
  for (let n = 0; n < 300; n++) {
    const file = path.join(folder, name("packs", n).replace("/", "-"));
    writeFileSync(file, "");
    utimesSync(file, n, n);
  }
  await keptBlobs(folder).write(name("since", 1), Buffer.from("new"));
  const left = readdirSync(folder);
  assert.equal(left.length, 129);
  assert.ok(left.includes(name("packs", 299).replace("/", "-")));
  assert.ok(!left.includes(name("packs", 0).replace("/", "-")));
  const nowhere = keptBlobs(path.join(folder, left[0] ?? "", "below"));
  await nowhere.write(name("packs", 1), Buffer.from("one"));
  assert.equal(await nowhere.read(name("packs", 1)), undefined);
});
