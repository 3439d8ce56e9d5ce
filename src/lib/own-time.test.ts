import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ownTimeMs, RunningTime } from "./own-time.ts";

/** What this thread has worked, in ms. */
function workedMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

test("waiting for something counts", async () => {
  const began = { own: ownTimeMs(), worked: workedMs() };
  while (ownTimeMs() - began.own < 200) await sleep(20);
  assert.ok(workedMs() - began.worked < 150, "not by working");
});

test("work counts", () => {
  const began = { own: ownTimeMs(), worked: workedMs() };
  while (workedMs() - began.worked < 100);
  assert.ok(ownTimeMs() - began.own >= 100);
});

test("a thread that is held still does not get older", async () => {
  await sleep(0);
  const began = ownTimeMs();
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
  assert.ok(ownTimeMs() - began < 100);
});

test("running time goes on, but stands still while the process is stopped", async () => {
  using time = new RunningTime();
  const stopped = new Int32Array(new SharedArrayBuffer(4));
  Atomics.wait(stopped, 0, 0, 1500);
  assert.ok(time.ms < 1000, String(time.ms));
  while (time.ms < 1100) await sleep(20);
});
