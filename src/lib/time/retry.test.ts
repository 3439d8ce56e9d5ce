import assert from "node:assert/strict";
import { test } from "node:test";
import { fakeClock } from "./fake-clock.fixture.ts";
import { FailureRow, retry, retryDelayMs } from "./retry.ts";

test("delays grow with the square of the tries up to a bound, and no two who wait know of each other", () => {
  const at = (n: number, random: number): number =>
    retryDelayMs(n, { baseMs: 100, maxMs: 1000, random: () => random });
  assert.deepEqual(
    [1, 2, 3, 4, 50].map((n) => at(n, 0.5)),
    [100, 400, 900, 1000, 1000],
  );
  assert.deepEqual([at(3, 0), at(3, 0.999)], [450, 900 * 1.499], "half to one and a half of it");
});

test("only what may pass is tried again, so often and no more, and the last failure is told", async () => {
  const clock = fakeClock();
  const signal = new AbortController().signal;
  const outcomeOf = async (failures: number, isWorth = true): Promise<[tries: number, end: string]> => {
    let tries = 0;
    const attempt = async (): Promise<string> => {
      tries += 1;
      if (tries <= failures) throw new Error(`failure ${tries}`);
      return await Promise.resolve("done");
    };
    const options = { baseMs: 100, maxMs: 1000, random: () => 0.5, tries: 3, clock, signal };
    const end = retry(attempt, { ...options, worthRetrying: () => isWorth });
    const ended = end.then(String, (err: unknown) => (err as Error).message);
    for (let n = 0; n < 20; n++) {
      await Promise.resolve();
      clock.advance(1000);
    }
    return [tries, await ended];
  };
  assert.deepEqual(await outcomeOf(2), [3, "done"]);
  assert.deepEqual(await outcomeOf(9), [3, "failure 3"]);
  assert.deepEqual(await outcomeOf(9, false), [1, "failure 1"]);
});

test("who gets further between failures begins a new row of them", () => {
  const row = new FailureRow();
  const lengths: number[] = [];
  for (const done of [10, 5, 10, 11, 0, 11]) {
    row.reached(done);
    row.failed();
    lengths.push(row.length);
  }
  row.end();
  row.reached(1);
  row.failed();
  assert.deepEqual([...lengths, row.length], [1, 2, 3, 1, 2, 3, 1]);
});
