import assert from "node:assert/strict";
import { test } from "node:test";
import { dueAfter, type SyncResult } from "./sync.ts";

const NOW = 1_800_000_000_000;
const at = { now: NOW, everyMs: 30_000, random: () => 0.5 };

function result(isDone: boolean, startsMs: number | null = null): SyncResult {
  const one = {
    package: "site",
    active: null,
    changed: false,
    held: null,
    startsMs,
    isDone,
    sources: {},
    troubles: [],
  };
  return { packages: [one], unread: null, isDone };
}

test("what is done is looked at every five minutes, what failed ever more seldom up to that", () => {
  assert.equal(dueAfter(result(true), 0, at), NOW + 300_000);
  const waits = [1, 2, 3, 4, 9].map((n) => dueAfter(result(false), n, at) - NOW);
  assert.deepEqual(waits, [30_000, 120_000, 270_000, 300_000, 300_000]);
});

test("an order that waits for its moment is begun at it", () => {
  assert.equal(dueAfter(result(false, NOW + 5000), 1, at), NOW + 5000);
  assert.equal(dueAfter(result(false, NOW - 5000), 1, at), NOW, "or at once, where that has passed");
  assert.equal(dueAfter(result(false, NOW + 900_000), 1, at), NOW + 30_000);
});
