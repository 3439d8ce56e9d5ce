import assert from "node:assert/strict";
import { test } from "node:test";
import { LOOK_MS, Patience, type RunOut } from "./patience.ts";

function waiting(wholeMs = 3000) {
  let now = 0;
  const patience = new Patience({ silentMs: 2000, wholeMs: () => wholeMs }, now);
  /** Looks every 250 ms, for so long. */
  const wait = (ms: number): RunOut | undefined => {
    for (const end = now + ms; now < end;) {
      const found = patience.look((now += LOOK_MS));
      if (found !== undefined) return found;
    }
    return undefined;
  };
  /** Nothing of this process runs for so long. */
  const stall = (ms: number): RunOut | undefined => patience.look((now += ms));
  return { patience, wait, stall };
}

test("who says nothing is silent after two seconds, and not before", () => {
  const { wait } = waiting();
  assert.equal(wait(2000), undefined);
  assert.equal(wait(LOOK_MS), "silent");
});

test("who says again and again that it is at it is late when patience is at its end", () => {
  const { patience, wait } = waiting();
  for (let heard = 0; heard < 6; heard++) {
    patience.heard();
    assert.equal(wait(500), undefined);
  }
  patience.heard();
  assert.equal(wait(500), "late");
});

test("who has begun to send may be silent, and is slow in the end", () => {
  const { patience, wait } = waiting();
  patience.sending();
  assert.equal(wait(3000), undefined);
  assert.equal(wait(LOOK_MS), "slow");
});

test("a process that stood still holds that against nobody", () => {
  const { wait, stall } = waiting();
  assert.equal(stall(14_000), undefined);
  assert.equal(wait(1500), undefined);
  assert.equal(wait(LOOK_MS), "silent");
});

test("what is waited for on this side does not count", async () => {
  const { patience, wait } = waiting();
  const turn = Promise.withResolvers<string>();
  patience.sending();
  const taken = patience.pausedFor(turn.promise);
  assert.equal(wait(60_000), undefined);
  turn.resolve("turn");
  assert.equal(await taken, "turn");
  assert.equal(wait(3000), undefined);
  assert.equal(wait(LOOK_MS), "slow");
});
