import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import { openStaged, stagedKept, type StagedRelease } from "./staged.ts";

const DAY = 86_400_000;
const staged = (n: number, at: number, app = "shop"): StagedRelease => ({
  app,
  env: "default",
  release: String(n).repeat(32) as ReleaseId,
  at,
});
const digits = (ids: readonly ReleaseId[]): string => ids.map((id) => id.charAt(0)).join("");

test("the last three of an app are kept, for seven days each", () => {
  const all = [staged(1, 0), staged(2, 5 * DAY), staged(3, 6 * DAY), staged(9, 6 * DAY, "bank")];
  assert.equal(digits(stagedKept(all, "shop", 6 * DAY)), "321");
  assert.equal(digits(stagedKept(all, "shop", 7 * DAY)), "32", "the first one's time is over");
  assert.equal(digits(stagedKept([...all, staged(4, 6 * DAY + 1)], "shop", 6 * DAY + 2)), "432");
  assert.equal(digits(stagedKept(all, "bank", 6 * DAY)), "9");
});

test("what is staged after a clock was set back is kept before what was staged under it", async (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "sk-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true }));
  const own = await openStaged(dir);
  for (const n of [1, 2, 3]) await own.add(staged(n, 400 * DAY + n));
  await own.add(staged(4, DAY));
  assert.equal(digits(stagedKept(own.all(), "shop", DAY + 1)), "432");
  assert.equal(digits(own.all().map(({ release }) => release)), "234");
});

test("what was staged is known after a restart, until it is forgotten", async (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "sk-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true }));
  const first = await openStaged(dir);
  await Promise.all([first.add(staged(1, 1)), first.add(staged(2, 2)), first.add(staged(1, 3))]);
  const second = await openStaged(dir);
  assert.deepEqual(second.all(), [staged(2, 2), staged(1, 3)], "one entry for each, with the newest time");
  await second.forget("shop", [staged(2, 0).release]);
  await second.pin("shop", staged(1, 0).release, true);
  await second.pin("shop", staged(1, 0).release, true);
  const third = await openStaged(dir);
  assert.deepEqual(third.all(), [staged(1, 3)]);
  assert.deepEqual([third.pins("shop"), third.pins("bank")], [[staged(1, 0).release], []]);
  await third.pin("shop", staged(1, 0).release, false);
  assert.deepEqual((await openStaged(dir)).pins("shop"), []);
});
