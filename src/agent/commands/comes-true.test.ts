import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "../../lib/time/clock.ts";
import { comesTrue } from "./comes-true.ts";

const hanging = async (signal: AbortSignal): Promise<boolean> =>
  await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));

test("what comes true is seen, also after a few looks", async (t) => {
  const waiting = { withinMs: 60_000, eachMs: 1, clock: systemClock, signal: t.signal };
  let looks = 0;
  assert.equal(await comesTrue(async () => await Promise.resolve(++looks === 3), waiting), true);
  assert.equal(looks, 3);
});

test("a look that hangs ends with the time, and says no", async (t) => {
  const waiting = { withinMs: 20, eachMs: 1, clock: systemClock, signal: t.signal };
  assert.equal(await comesTrue(hanging, waiting), false);
  assert.equal(await comesTrue(async () => await Promise.resolve(false), waiting), false);
});

test("a look that fails, and a caller that leaves, are told", async () => {
  const stop = new AbortController();
  const waiting = { withinMs: 60_000, eachMs: 1, clock: systemClock, signal: stop.signal };
  await assert.rejects(
    comesTrue(async () => await Promise.reject(new Error("no such app")), waiting),
    /no such app/,
  );
  const left = comesTrue(hanging, waiting);
  stop.abort(new Error("left"));
  await assert.rejects(left, /left/);
});
