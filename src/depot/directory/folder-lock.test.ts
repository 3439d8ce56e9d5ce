import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { lockFolder, tryLockFolder } from "./folder-lock.ts";

test("a turn takes no room, so that a full disk is told of by whoever writes", async (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-lock-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true }));
  using _turn = await lockFolder(dir, systemClock, t.signal);
  assert.deepEqual(fs.readdirSync(dir), [".lock"]);
  assert.equal(fs.statSync(path.join(dir, ".lock")).size, 0);
});

test("whoever has a turn keeps it from other processes, though it asks for that turn a second time", async (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-lock-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true }));
  const lock = JSON.stringify(new URL("./folder-lock.ts", import.meta.url).href);
  const script = `const { tryLockFolder } = await import(${lock}); console.log(tryLockFolder(${JSON.stringify(dir)}) === undefined);`;
  const isKept = (): boolean =>
    spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" }).stdout ===
    "true\n";
  {
    using _turn = await lockFolder(dir, systemClock, t.signal);
    assert.equal(isKept(), true);
    assert.equal(tryLockFolder(dir), undefined);
    assert.equal(isKept(), true);
  }
  assert.equal(isKept(), false);
});
