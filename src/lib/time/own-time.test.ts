import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { afterRunningMs, ownTimeMs, RunningTime } from "./own-time.ts";

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

test("time that is over while the process is stopped leaves it the chance to read what came", async () => {
  const told: string[] = [];
  const over = Promise.withResolvers<void>();
  afterRunningMs(900, () => {
    told.push("over");
    over.resolve();
  });
  const news = sleep(0).then(() => setTimeout(() => told.push("news"), 1));
  await news;
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1500);
  await over.promise;
  assert.deepEqual(told, ["news", "over"]);
});

test("what is called off is not called", async () => {
  let calls = 0;
  afterRunningMs(20, () => (calls += 1))();
  await sleep(60);
  assert.equal(calls, 0);
});
