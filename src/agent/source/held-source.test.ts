import assert from "node:assert/strict";
import { test } from "node:test";
import { HeldSource } from "./held-source.ts";
import type { Source } from "./source.ts";

test("flows that open a source at once come to one, also when there is to be another", async () => {
  let charter = 1;
  const made: number[] = [];
  const held = new HeldSource(async (before) => {
    await new Promise(setImmediate);
    if (before?.name === String(charter)) return before;
    made.push(charter);
    return { name: String(charter) } as Source;
  });
  const open = async (): Promise<readonly Source[]> =>
    await Promise.all([held.open(), held.open(), held.open()]);
  const first = await open();
  assert.equal(new Set(first).size, 1);
  charter = 2;
  const second = await open();
  assert.equal(new Set(second).size, 1);
  assert.deepEqual([made, held.current], [[1, 2], second[0]]);
});

test("one that cannot be opened fails for those who waited for it, and is tried again", async () => {
  let tries = 0;
  const held = new HeldSource(async () => {
    tries += 1;
    if (tries === 1) throw new Error("no hub");
    return { name: "hub" } as Source;
  });
  const [failed, next] = await Promise.allSettled([held.open(), held.open()]);
  assert.deepEqual([failed.status, next.status], ["rejected", "fulfilled"]);
  assert.equal(held.current?.name, "hub");
});
