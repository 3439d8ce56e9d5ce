import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { EarlyFlushes } from "./flush.ts";
import { makeWorld, tempDir } from "../release.fixture.ts";

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

test("a release that could not be written to the disk does not appear, and does once it can", async (t) => {
  const world = makeWorld(t);
  const files = Array.from({ length: 100 }, (_, n) => [`file-${n}`, String(n)]);
  const tree = await world.publish(Object.fromEntries(files));
  const [bin, before] = [tempDir(t), process.env["PATH"]];
  fs.writeFileSync(path.join(bin, "sync"), "#!/bin/sh\nexit 1\n", { mode: 0o755 });
  process.env["PATH"] = `${bin}:${before}`;
  try {
    await assert.rejects(world.install(1, tree), { code: "IO", message: /^sync -f .* failed$/ });
  } finally {
    process.env["PATH"] = before;
  }
  assert.deepEqual(
    fs.readdirSync(world.revs).filter((name) => !name.startsWith(".")),
    [],
  );
  assert.equal((await world.install(1, tree)).already, false);
});
