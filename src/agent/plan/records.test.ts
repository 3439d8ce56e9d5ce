import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import type { Digest, ReleaseId } from "../../lib/text/ids.ts";
import { attemptFor, type Attempt, type Goal, type Reached, type StepName } from "./plan.ts";
import { currentOf, newRecord, openRecords, type AppRecord } from "./records.ts";

const [V1, V2] = ["1".repeat(32) as ReleaseId, "2".repeat(32) as ReleaseId];
const ORDER = "f".repeat(64) as Digest;
const reached: Reached = { order: ORDER, release: V1, state: "run", generation: 0, beside: [] };
const goal: Goal = {
  ...reached,
  release: V2,
  hooks: true,
  back: false,
  go: true,
  everywhere: false,
  answers: { epoch: 0, seq: 2, release: V2 },
};

function recordWith(over: Partial<AppRecord>): AppRecord {
  return { ...newRecord("shop", "prod"), reached, ...over };
}

function attempted(done: readonly StepName[], over: Partial<Attempt> = {}): AppRecord {
  const attempt = attemptFor(goal, {
    current: V1,
    reached,
    attempt: null,
    running: [V1],
    tableOnly: [],
    fits: true,
  });
  return recordWith({ attempt: { ...attempt, done, ...over } });
}

const FAILED = { why: "failed", code: "HOOK_FAILED", message: "no" } as const;
const CURRENT: readonly (readonly [string, AppRecord | undefined, ReleaseId | null])[] = [
  ["nothing is known of", undefined, null],
  ["nothing was reached of", newRecord("shop", "prod"), null],
  ["stands in another environment", { ...recordWith({}), env: "staging" }, null],
  ["was reached", recordWith({}), V1],
  ["was stopped", recordWith({ reached: { ...reached, state: "stopped" } }), null],
  ["is being judged beside the old one", attempted(["install", "judge", "flip"]), V1],
  ["took over while the old one drains", attempted(["judge", "flip", "attach"]), V2],
  ["failed before it took over", attempted(["judge"], { back: FAILED }), V1],
  ["failed after it took over", attempted(["flip", "attach"], { back: FAILED }), V2],
  ["gave back", attempted(["flip", "attach", "back-attach"], { back: FAILED }), V1],
];

for (const [what, record, release] of CURRENT) {
  test(`whom callers of other apps are led to, of what ${what}`, () => {
    assert.equal(currentOf(record, "prod"), release);
  });
}

test("a change is told once it can be read, and no more after the listener left", async (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-"));
  atEnd(t, () => {
    fs.rmSync(dir, { recursive: true, force: true });
  });
  const records = await openRecords(dir);
  const seen: unknown[] = [];
  const stop = records.onChange(() => seen.push(records.get("shop")?.reached?.release ?? null));
  await records.save(recordWith({}));
  records.note(recordWith({ reached: null }));
  await records.remove("shop");
  stop();
  await records.save(recordWith({}));
  assert.deepEqual(seen, [V1, null, null]);
});
