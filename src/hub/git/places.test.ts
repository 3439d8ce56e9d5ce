import assert from "node:assert/strict";
import test from "node:test";
import { Places } from "./places.ts";

const WAITING = Symbol("waiting");

/** What a promise has come to by now. */
async function now<T>(promise: Promise<T>): Promise<T | typeof WAITING> {
  await new Promise((resolve) => setImmediate(resolve));
  return await Promise.race([promise, Promise.resolve(WAITING)]);
}

test("places are given in turn, and whoever holds all that one may have holds up no other", async (t) => {
  const places = new Places({ most: 3, mostOfOne: 2 });
  const take = async (owner: string) => await places.take(owner, t.signal);
  const [a1, a2] = [await take("a"), await take("a")];
  const a3 = take("a");
  const b1 = await take("b");
  const b2 = take("b");
  const c1 = take("c");
  assert.deepEqual([await now(a3), await now(b2), await now(c1)], [WAITING, WAITING, WAITING]);
  a1[Symbol.dispose]();
  a1[Symbol.dispose](); // twice is once
  const a4 = await a3;
  assert.deepEqual([await now(b2), await now(c1)], [WAITING, WAITING]);
  a2[Symbol.dispose]();
  assert.notEqual(await now(b2), WAITING, "it came first");
  assert.equal(await now(c1), WAITING);
  for (const place of [a4, b1, await b2]) place[Symbol.dispose]();
  (await c1)[Symbol.dispose]();
  await Promise.all([take("d"), take("d"), take("e")]);
});

test("waiting has an end, and gives up nothing that others then lack", async (t) => {
  const places = new Places({ most: 1, waitMs: 10, mostWaiting: 2 });
  const first = await places.take("a", t.signal);
  const gone = new AbortController();
  const leaving = places.take("b", gone.signal);
  const late = places.take("c", t.signal);
  await assert.rejects(places.take("d", t.signal), { code: "TOO_MANY" }, "as many wait as may");
  gone.abort();
  await assert.rejects(leaving, { name: "AbortError" });
  await assert.rejects(late, { code: "TOO_MANY" });
  first[Symbol.dispose]();
  (await places.take("e", t.signal))[Symbol.dispose]();
  await assert.rejects(places.take("e", gone.signal), { name: "AbortError" });
  await places.take("e", t.signal);
});

test("a place that came in the moment of giving up goes to the next", async (t) => {
  const places = new Places({ most: 1, waitMs: 60_000 });
  const first = await places.take("a", t.signal);
  const gone = new AbortController();
  const leaving = places.take("b", gone.signal);
  gone.abort();
  first[Symbol.dispose]();
  const next = places.take("c", t.signal);
  const [left] = await Promise.allSettled([leaving]);
  if (left.status === "fulfilled") left.value[Symbol.dispose]();
  await next;
});
