import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { atEnd } from "../lib/at-end.fixture.ts";
import { systemClock } from "../lib/clock.ts";
import { lockFolder } from "./folder-lock.ts";

test("a turn takes no room, so that a full disk is told of by whoever writes", async (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-lock-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true }));
  using _turn = await lockFolder(dir, systemClock, t.signal);
  assert.deepEqual(fs.readdirSync(dir), [".lock"]);
  assert.equal(fs.statSync(path.join(dir, ".lock")).size, 0);
});
