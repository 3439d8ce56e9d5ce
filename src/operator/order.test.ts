import assert from "node:assert/strict";
import test from "node:test";
import { ROLLING } from "../rollout/world.fixture.ts";
import { needsOf } from "./order.ts";

test("a settle needs the receipts that a rollout cannot end well without, and no more", () => {
  const needs = (total: number, present: number, change: Partial<typeof ROLLING> = {}): number =>
    needsOf(total, present, { ...ROLLING, ...change });
  assert.equal(needs(3, 0), 0, "nobody is there");
  assert.equal(needs(1, 1), 1);
  // One of three may be away: before this is signed, or after.
  assert.equal(needs(3, 3), 2);
  assert.equal(needs(3, 2), 2);
  assert.equal(needs(3, 1), 1, "the other two are waited for");
  assert.equal(needs(3, 3, { maxAbsent: 0 }), 3);
  assert.equal(needs(20, 20), 19);
  assert.equal(needs(20, 20, { maxFailed: "10%" }), 17);
  assert.equal(needs(2, 2, { maxFailed: 5 }), 1, "never nobody's");
  assert.equal(needs(1000, 1000), 32, "as many as a settle may name");
});
