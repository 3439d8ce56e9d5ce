import assert from "node:assert/strict";
import test from "node:test";
import type { Digest, ReleaseId } from "../../lib/text/ids.ts";
import { newRecord, type AppRecord } from "../plan/records.ts";
import { namedInstance, servingBy } from "./named-instance.ts";

const [OLD, NEW] = ["a".repeat(32) as ReleaseId, "b".repeat(32) as ReleaseId];
const reached = (release: ReleaseId | null): AppRecord["reached"] =>
  release && { order: "0".repeat(64) as Digest, release, state: "run", generation: 0, beside: [] };
const row = (release: ReleaseId) => ({ app: "shop", instance: "web.1", release, generation: 0 });

function record(before: ReleaseId | null, done: readonly string[] | null): AppRecord {
  const attempt = done && { ...reached(NEW), done, back: null, before: reached(before) };
  return {
    ...newRecord("shop", "default"),
    reached: reached(before),
    attempt: attempt as AppRecord["attempt"],
  };
}

test("what serves is what was switched to, also before the order's end is recorded", () => {
  const switched = ["install", "judge", "attach"];
  for (const [one, rows, release] of [
    [record(OLD, null), [row(OLD)], OLD],
    [record(OLD, ["install", "judge"]), [row(OLD), row(NEW)], OLD],
    [record(OLD, switched), [row(OLD), row(NEW)], NEW],
    [record(null, switched), [row(NEW)], NEW],
    [record(OLD, [...switched, "back-attach"]), [row(NEW), row(OLD)], OLD],
  ] as const) {
    assert.equal(namedInstance(rows, one, "web.1").release, release);
    assert.equal(servingBy(one), release);
  }
});

test("an id names its instance whatever serves, and what is not there is named", () => {
  const rows = [row(OLD), row(NEW)];
  assert.equal(namedInstance(rows, record(NEW, null), "shop.web.1.aaaaaaaa").release, OLD);
  assert.throws(() => namedInstance(rows, record(NEW, null), "web.2"), {
    code: "NOT_FOUND",
    data: { instances: ["shop.web.1.aaaaaaaa", "shop.web.1.bbbbbbbb"] },
  });
  assert.throws(() => servingBy(record(null, null)), { code: "RELEASE_NOT_FOUND" });
});
