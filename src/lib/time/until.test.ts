import assert from "node:assert/strict";
import { once } from "node:events";
import test from "node:test";
import { until } from "./until.ts";

test("it aborts with any parent, after its time, or by hand", async () => {
  const parent = new AbortController();
  using both = until([new AbortController().signal, parent.signal]);
  parent.abort();
  assert.ok(both.signal.aborted);
  using late = until([parent.signal]);
  assert.ok(late.signal.aborted);
  using timed = until([], 1);
  await once(timed.signal, "abort");
  using own = until([]);
  own.abort();
  assert.ok(own.signal.aborted);
});

test("once disposed of it neither hears its parents nor waits", () => {
  const parent = new AbortController();
  const gone = until([parent.signal], 60_000);
  gone[Symbol.dispose]();
  parent.abort();
  assert.ok(!gone.signal.aborted);
});

test("what has more than a timer's time is not over at once", async () => {
  using long = until([], 31 * 86_400_000);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.ok(!long.signal.aborted);
});
