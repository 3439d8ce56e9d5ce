import assert from "node:assert/strict";
import test, { type TestContext } from "node:test";
import { Places, type Conversation } from "./git-places.ts";

const WAITING = Symbol("waiting");
const TALK: Conversation = { received: () => 0, sent: () => 0, cut: () => undefined };

/** What a promise has come to by now. */
async function now<T>(promise: Promise<T>): Promise<T | typeof WAITING> {
  await new Promise((resolve) => setImmediate(resolve));
  return await Promise.race([promise, Promise.resolve(WAITING)]);
}

test("places are given in turn, and whoever holds all that one may have holds up no other", async (t) => {
  const places = new Places({ most: 3, mostOfOne: 2 });
  const take = async (owner: string) => await places.take(owner, TALK, t.signal);
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
  const first = await places.take("a", TALK, t.signal);
  const gone = new AbortController();
  const leaving = places.take("b", TALK, gone.signal);
  const late = places.take("c", TALK, t.signal);
  await assert.rejects(places.take("d", TALK, t.signal), { code: "TOO_MANY" }, "as many wait as may");
  gone.abort();
  await assert.rejects(leaving, { name: "AbortError" });
  await assert.rejects(late, { code: "TOO_MANY" });
  first[Symbol.dispose]();
  (await places.take("e", TALK, t.signal))[Symbol.dispose]();
  await assert.rejects(places.take("e", TALK, gone.signal), { name: "AbortError" });
  await places.take("e", TALK, t.signal);
});

test("a place that came in the moment of giving up goes to the next", async (t) => {
  const places = new Places({ most: 1, waitMs: 60_000 });
  const first = await places.take("a", TALK, t.signal);
  const gone = new AbortController();
  const leaving = places.take("b", TALK, gone.signal);
  gone.abort();
  first[Symbol.dispose]();
  const next = places.take("c", TALK, t.signal);
  const [left] = await Promise.allSettled([leaving]);
  if (left.status === "fulfilled") left.value[Symbol.dispose]();
  await next;
});

/** Takes a place that it gives back when it is cut. */
async function holding(
  places: Places,
  owner: string,
  { signal }: TestContext,
  talk: Partial<Conversation> = {},
) {
  const state = { isCut: false };
  const cut = (): void => {
    state.isCut = true;
    place[Symbol.dispose]();
  };
  const place = await places.take(owner, { ...TALK, ...talk, cut }, signal);
  return state;
}

test("who stands still gives way to who waits: the longest first, and only whose place helps", async (t) => {
  const places = new Places({ most: 3, mostOfOne: 2, stillMs: 0 });
  const other = await holding(places, "b", t);
  const [first, second] = [await holding(places, "a", t), await holding(places, "a", t)];
  await holding(places, "a", t);
  assert.deepEqual([other.isCut, first.isCut, second.isCut], [false, true, false]);
  await holding(places, "c", t);
  assert.deepEqual([other.isCut, second.isCut], [true, false]);
});

test("who moves, or has sent what git is at work on, is not cut, and a drip is no moving", async (t) => {
  for (const [talk, isCut] of [
    [{ sent: () => performance.now() * 1000 }, false],
    [{ received: () => 1_000_000_000 }, false],
    [{ sent: () => performance.now() / 1000 }, true],
  ] as const) {
    const places = new Places({ most: 1, stillMs: 20, lookMs: 5, waitMs: isCut ? 60_000 : 60 });
    const held = await holding(places, "a", t, talk);
    const next = holding(places, "b", t);
    if (isCut) await next;
    else await assert.rejects(next, { code: "TOO_MANY" });
    assert.equal(held.isCut, isCut);
  }
});
