import assert from "node:assert/strict";
import { test } from "node:test";
import { ConnectionTurns } from "./connection-turns.ts";

/** Takes `count` turns, each ended by `end` of its number; tells which have begun. */
function several(
  turns: ConnectionTurns,
  count: number,
): { readonly begun: number[]; readonly end: (n: number) => void } {
  const begun: number[] = [];
  const ends = new Map<number, () => void>();
  for (let n = 0; n < count; n++) {
    void turns.take(new AbortController().signal).then((end) => {
      begun.push(n);
      ends.set(n, end);
    });
  }
  return { begun, end: (n) => ends.get(n)?.() };
}

const soon = async (): Promise<void> => await new Promise((resolve) => setImmediate(resolve));

test("short requests take turns in their order, and a turn is ended once", async () => {
  const turns = new ConnectionTurns(16, true);
  const { begun, end } = several(turns, 3);
  await soon();
  assert.deepEqual(begun, [0]);
  end(0);
  end(0);
  await soon();
  assert.deepEqual(begun, [0, 1]);
  end(1);
  await soon();
  assert.deepEqual(begun, [0, 1, 2]);
});

test("who waits longer than opening takes gets a connection, one after the other", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let now = 0;
  const pass = async (ms: number): Promise<void> => {
    now += ms;
    t.mock.timers.tick(ms);
    await soon();
  };
  const turns = new ConnectionTurns(3, true, () => now);
  turns.opened(100);
  const { begun, end } = several(turns, 5);
  await soon();
  await pass(299);
  assert.deepEqual(begun, [0]);
  await pass(1);
  assert.deepEqual(begun, [0, 1]);
  await pass(300);
  assert.deepEqual(begun, [0, 1, 2]);
  await pass(300);
  assert.deepEqual(begun, [0, 1, 2], "that is all there may be");
  end(1);
  await soon();
  assert.deepEqual(begun, [0, 1, 2, 3]);
});

test("who gives up leaves its turn to the next, and is told by whom it was ended", async () => {
  const turns = new ConnectionTurns(1, false);
  const stop = new AbortController();
  const end = await turns.take(stop.signal);
  const left = turns.take(stop.signal);
  const next = turns.take(new AbortController().signal);
  stop.abort(new Error("changed my mind"));
  await assert.rejects(left, /changed my mind/);
  await assert.rejects(turns.take(stop.signal), /changed my mind/);
  assert.equal(turns.takeFree(), undefined);
  end();
  (await next)();
  assert.notEqual(turns.takeFree(), undefined);
});
