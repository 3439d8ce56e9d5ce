import assert from "node:assert/strict";
import test from "node:test";
import { hasPassed, systemClock } from "./clock.ts";

test("a time has passed when it is over, and when the clock was set back since it began", () => {
  const rows: [number, number, boolean][] = [
    [1000, 1000, false],
    [1000, 1999, false],
    [1000, 2000, true],
    [1000, 999, true],
    [3_600_000, 0, true],
    [-Infinity, 0, true],
  ];
  for (const [at, now, passed] of rows) assert.equal(hasPassed(1000, at, now), passed, `${at} ${now}`);
});

test("what sleeps for a month is not awake at once", async () => {
  const soon = AbortSignal.timeout(50);
  await assert.rejects(systemClock.sleep(31 * 86_400_000, soon), { name: "TimeoutError" });
});

test("a sleep that is cut short rejects with why, before it began and meanwhile", async () => {
  const stop = new AbortController();
  const why = new Error("the hub stops");
  const asleep = assert.rejects(systemClock.sleep(60_000, stop.signal), why);
  stop.abort(why);
  await asleep;
  await assert.rejects(systemClock.sleep(60_000, stop.signal), why);
});
