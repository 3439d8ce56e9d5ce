import assert from "node:assert/strict";
import test from "node:test";
import { Ends } from "./instance-ends.ts";

const KEY = "shop/1/web.1";

test("whoever stops an instance to start it again hears of others, before it, meanwhile and not after", async () => {
  const ends = new Ends();
  const first = ends.again(KEY);
  assert.equal(first.taken, undefined);
  const { promise, resolve } = Promise.withResolvers<void>();
  const ending = ends.during([KEY, "shop/1/web.2"], async () => await promise);
  assert.equal(first.taken, "end", "meanwhile");
  assert.equal(ends.again("shop/1/web.3").taken, undefined, "another instance");
  using second = ends.again(KEY);
  assert.equal(second.taken, "end", "before");
  resolve();
  await ending;
  assert.equal(first.taken, "end", "what was ended stays so");
  assert.equal(ends.again(KEY).taken, undefined, "after");
});

test("of several who stop it the last one counts, until that has ended", async () => {
  const ends = new Ends();
  const { promise, resolve } = Promise.withResolvers<void>();
  const ending = ends.during([KEY], async () => await promise, "end");
  using again = ends.again(KEY);
  await assert.rejects(
    ends.during([KEY], async () => await Promise.reject(new Error("no keeper")), "start"),
    /no keeper/,
  );
  assert.equal(again.taken, "start");
  assert.equal(ends.again(KEY).taken, "end", "the other one is still at it");
  resolve();
  await ending;
  assert.equal(ends.again(KEY).taken, undefined);
});

test("who has started it again hears of nobody any more, and another one who is at it does", async () => {
  const ends = new Ends();
  const gone = ends.again(KEY);
  using other = ends.again(KEY);
  gone[Symbol.dispose]();
  await ends.during([KEY], async () => await Promise.resolve());
  assert.deepEqual([gone.taken, other.taken], [undefined, "end"]);
});
