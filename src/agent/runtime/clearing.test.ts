import assert from "node:assert/strict";
import { test } from "node:test";
import { closeUnused, endOne, forgetAll, startAgain, stopAll } from "./clearing.ts";
import { Ends } from "./instance-ends.ts";
import type { KeeperLink } from "./keeper-link.ts";
import type { Held } from "./stock.ts";

test("an instance that drains for hours is waited for", async () => {
  const calls: unknown[] = [];
  const spec = {
    key: "shop|1|web-1",
    stop: { signal: "SIGTERM", windowMs: 0, withinMs: 7_200_000, now: "SIGKILL" },
  };
  const link = {
    ends: new Ends(),
    call: async (...args: readonly unknown[]) => {
      calls.push(args);
      return await Promise.resolve({ instances: [{ spec }], sockets: [] });
    },
  } as unknown as KeeperLink;
  await endOne(link, spec.key);
  await endOne(link, spec.key, 1000);
  assert.deepEqual(
    calls.filter((_, n) => n % 2 === 1),
    [
      ["stop", { key: spec.key, withinMs: 7_200_000 }, 7_215_000],
      ["stop", { key: spec.key, withinMs: 1000 }, 16_000],
    ],
  );
  await assert.rejects(endOne(link, "shop|1|web-2"), { code: "NOT_FOUND" });
});

const STOP = { signal: "SIGTERM", windowMs: 0, withinMs: 1000, now: "SIGKILL" };

interface Kept {
  readonly app?: string;
  readonly sockets?: readonly string[];
  readonly held?: readonly string[];
  readonly own?: readonly string[];
}

/** An instance as the keeper lists it. */
function viewOf(key: string, { app = "shop", sockets = [], held = [], own = [] }: Kept = {}) {
  const named = Object.fromEntries(held.map((one) => [one, one]));
  const meta = { app, held: named, sockets: own.map((name) => ({ name })) };
  return { state: "running", spec: { key, sockets, stop: STOP, meta: { json: JSON.stringify(meta) } } };
}

/** A keeper that notes what it is told, and whose stops come out as `stops` says. */
function keeperOf(
  views: readonly ReturnType<typeof viewOf>[],
  sockets: readonly string[] = [],
  stops: (key: string) => object = () => ({ cut: 0, forced: false, ms: 0 }),
) {
  const told: string[] = [];
  const link = {
    ends: new Ends(),
    call: async (op: string, { key = "" }: { readonly key?: string }) => {
      if (op === "list")
        return await Promise.resolve({ instances: views, sockets: sockets.map((one) => ({ key: one })) });
      told.push(`${op} ${key}`);
      return await Promise.resolve(op === "stop" ? stops(key) : {});
    },
  } as unknown as KeeperLink;
  const held = views.map((view) => ({ view, meta: JSON.parse(view.spec.meta.json) }) as unknown as Held);
  return { link, told, held };
}

test("of instances that end at once it is told how many connections that cut, whom by force, and how long the last took", async () => {
  const results: Readonly<Record<string, object>> = {
    a: { cut: 2, forced: true, ms: 30 },
    b: { cut: 3, forced: false, ms: 70 },
  };
  const { link, held } = keeperOf([viewOf("a"), viewOf("b")], [], (key) => results[key] ?? {});
  assert.deepEqual(await stopAll(link, held), { cut: 5, forced: ["a"], ms: 70 });
  assert.deepEqual(await stopAll(link, []), { cut: 0, forced: [], ms: 0 });
});

test("what is forgotten gives back its ports, and its app's sockets that no other instance needs", async () => {
  const open = ["shop|tcp|:80", "shop|tcp|:81", "shop|tcp|:82", "private|shop/1/a.1|http", "bill|tcp|:90"];
  const staying = viewOf("shop/2/a.1", { sockets: ["shop|tcp|:81"], held: ["shop|tcp|:82"] });
  const { link, told } = keeperOf([staying], open);
  await forgetAll(link, keeperOf([viewOf("shop/1/a.1", { own: ["http", "admin"] })]).held);
  assert.deepEqual(told, [
    "forget shop/1/a.1",
    "unlockPort shop/1/a.1|http",
    "unlockPort shop/1/a.1|admin",
    "unlisten shop|tcp|:80",
    "unlisten private|shop/1/a.1|http",
  ]);
  await forgetAll(link, []);
  await closeUnused(link, new Set(["bill"]));
  assert.deepEqual(told.slice(5), ["unlisten bill|tcp|:90"]);
});

test("an instance is started again unless somebody ends it meanwhile", async () => {
  const { link, told } = keeperOf([viewOf("a")]);
  assert.equal(await startAgain(link, "a"), true);
  assert.deepEqual(told, ["stop a", "again a"]);
  for (const meant of ["end", "start"] as const) {
    const other = keeperOf([viewOf("a")]);
    const again = async (): Promise<boolean> => await startAgain(other.link, "a");
    assert.equal(await other.link.ends.during(["a"], again, meant), meant === "start", meant);
    assert.deepEqual(other.told, ["stop a"], "it is left to who is at it");
  }
});
