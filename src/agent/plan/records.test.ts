import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import type { Digest, ReleaseId } from "../../lib/text/ids.ts";
import { attemptFor, type Attempt, type Goal, type Reached, type StepName } from "./plan.ts";
import { currentOf, newRecord, openRecords, withGood, withVerdict, type AppRecord } from "./records.ts";

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

test("what ran well is known newest first, each once, and no more than a hundred", () => {
  const id = (n: number): ReleaseId => n.toString(16).padStart(32, "0") as ReleaseId;
  let record = recordWith({});
  for (let n = 0; n <= 100; n++) record = withGood(record, id(n));
  record = withGood(record, id(50));
  const rest = Array.from({ length: 100 }, (_, n) => 100 - n).filter((n) => n !== 50);
  assert.deepEqual(record.good, [50, ...rest].map(id));
});

test("the newest answers to orders are known, and to each the last one", () => {
  const order = (n: number): Digest => n.toString(16).padStart(64, "a") as Digest;
  let record = recordWith({});
  for (let n = 0; n < 100; n++) record = withVerdict(record, order(n), "ok");
  const oldest = order(0);
  assert.equal(record.verdicts[oldest], "ok");
  record = withVerdict(record, order(50), "undone");
  assert.equal(record.verdicts[oldest], "ok", "an answer that is given anew takes no other's place");
  record = withVerdict(record, oldest, "undone");
  record = withVerdict(record, order(100), "failed");
  assert.equal(Object.keys(record.verdicts).length, 100);
  assert.equal(record.verdicts[oldest], "undone", "what was answered anew is not the oldest");
  assert.equal(record.verdicts[order(1)], undefined);
  assert.equal(record.verdicts[order(100)], "failed");
});

test("records outlive the process; what a crash left half-written goes, and a damaged one is as if it had never been", async (t) => {
  const dir = path.join(fs.mkdtempSync(path.join(os.tmpdir(), "skein-")), "apps");
  atEnd(t, () => fs.rmSync(path.dirname(dir), { recursive: true, force: true }));
  const records = await openRecords(dir);
  const whole = withVerdict(attempted(["install"], { back: FAILED }), ORDER, "ok");
  await records.save(whole);
  await records.save({ ...recordWith({}), app: "api" });
  await records.save({ ...recordWith({}), app: "gone" });
  await records.remove("gone");
  fs.writeFileSync(path.join(dir, "shop.json.tmp-1"), "{");
  const damages = [
    JSON.stringify({
      ...recordWith({}),
      app: "bad",
      attempt: { ...whole.attempt, back: { ...FAILED, code: "NO_CODE" } },
    }),
    "{",
  ];
  for (const [n, damage] of damages.entries()) fs.writeFileSync(path.join(dir, `bad${n}.json`), damage);
  const again = await openRecords(dir);
  assert.deepEqual(
    again
      .all()
      .map(({ app }) => app)
      .sort(),
    ["api", "shop"],
  );
  assert.deepEqual(again.get("shop"), whole);
  assert.deepEqual(
    fs.readdirSync(dir).filter((name) => name.includes("tmp")),
    [],
  );
});

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
