import assert from "node:assert/strict";
import test, { type TestContext } from "node:test";
import * as fc from "fast-check";
import type { Compare, Op, Store, StoreEvent, Txn } from "./store.ts";
import { anyTxn } from "./txn.fixture.ts";
import { collect, dataOf } from "./watch.fixture.ts";

/** A store of its own for one test. */
export interface StoreUnderTest extends AsyncDisposable {
  readonly store: Store;
  /** Lets `ms` of the time pass by which leases end. */
  readonly elapse: (ms: number) => Promise<void>;
}

const put = (key: string, value: string, lease?: number): Op =>
  lease === undefined ? { op: "put", key, value } : { op: "put", key, value, lease };
const always = (...then: Op[]): Txn => ({ compare: [], then });

/** What every backend of the seam does alike. */
export function storeConformance(name: string, open: () => Promise<StoreUnderTest>): void {
  const check = (sentence: string, body: (under: StoreUnderTest, t: TestContext) => Promise<void>): void => {
    test(`${name}: ${sentence}`, async (t) => {
      await using under = await open();
      await body(under, t);
    });
  };

  check("a put is there, with its revisions and version", async ({ store }) => {
    const first = await store.txn(always(put("/a", "1")));
    const second = await store.txn(always(put("/a", "2"), put("/b", "x")));
    assert.equal(second.revision, first.revision + 1);
    assert.deepEqual(await store.get("/a"), {
      key: "/a",
      value: "2",
      createRevision: first.revision,
      modRevision: second.revision,
      version: 2,
      lease: 0,
    });
    assert.equal(await store.get("/nobody"), undefined);
  });

  check("a key that is deleted and put again is a new one", async ({ store }) => {
    await store.txn(always(put("/a", "1")));
    await store.txn(always({ op: "delete", key: "/a" }));
    const { revision } = await store.txn(always(put("/a", "1")));
    const entry = await store.get("/a");
    assert.deepEqual([entry?.createRevision, entry?.modRevision, entry?.version], [revision, revision, 1]);
  });

  check("deleting what is not there changes no revision", async ({ store }) => {
    const { revision } = await store.txn(always(put("/a", "1")));
    const none: Op[] = [
      { op: "delete", key: "/b" },
      { op: "deletePrefix", prefix: "/c/" },
    ];
    assert.deepEqual(await store.txn(always(...none)), { succeeded: true, revision });
  });

  check("of many compare-and-sets on one key at once, one wins", async ({ store }) => {
    const txn = (value: string): Txn => ({
      compare: [{ key: "/head", target: "modRevision", op: "=", value: 0 }],
      then: [put("/head", value)],
    });
    const results = await Promise.all(["a", "b", "c", "d"].map((value) => store.txn(txn(value))));
    assert.deepEqual(
      results.filter((result) => result.succeeded),
      results.slice(0, 1),
    );
    assert.equal((await store.get("/head"))?.value, "a");
  });

  check("the other branch runs when a comparison fails", async ({ store }) => {
    const { revision } = await store.txn({
      compare: [{ key: "/a", target: "version", op: ">", value: 0 }],
      then: [put("/then", "1")],
      orElse: [put("/else", "1")],
    });
    assert.equal(await store.get("/then"), undefined);
    assert.equal((await store.get("/else"))?.modRevision, revision);
  });

  check("comparisons hold as they are documented", async ({ store }) => {
    await store.txn(always(put("/x", "1")));
    const { revision } = await store.txn(always(put("/x", "2")));
    const table: [Compare, boolean][] = [
      [{ key: "/x", target: "value", op: "=", value: "2" }, true],
      [{ key: "/x", target: "value", op: "!=", value: "2" }, false],
      [{ key: "/x", target: "value", op: "!=", value: "1" }, true],
      [{ key: "/no", target: "value", op: "=", value: "" }, false],
      [{ key: "/no", target: "value", op: "!=", value: "1" }, false],
      [{ key: "/no", target: "modRevision", op: "=", value: 0 }, true],
      [{ key: "/x", target: "modRevision", op: "=", value: revision }, true],
      [{ key: "/x", target: "modRevision", op: "!=", value: revision }, false],
      [{ key: "/x", target: "createRevision", op: "<", value: revision }, true],
      [{ key: "/x", target: "createRevision", op: ">", value: revision }, false],
      [{ key: "/x", target: "version", op: "=", value: 2 }, true],
      [{ key: "/x", target: "version", op: ">", value: 2 }, false],
    ];
    for (const [compare, holds] of table) {
      const { succeeded } = await store.txn({ compare: [compare], then: [] });
      assert.equal(succeeded, holds, JSON.stringify(compare));
    }
  });

  check("a range is sorted by bytes and can be read by pages", async ({ store }) => {
    const keys = ["/p/a", "/p/a/b", "/p/b", "/p/é", "/p/\u{ffee}", "/p/\u{1f600}"];
    for (const key of keys.toReversed()) await store.txn(always(put(key, "1")));
    await store.txn(always(put("/o", "1"), put("/q", "1"), put("/p", "1")));
    const all = await store.range("/p/");
    assert.deepEqual(
      all.entries.map((entry) => entry.key),
      keys,
    );
    const page = await store.range("/p/", { limit: 2, after: "/p/a/b" });
    assert.deepEqual(
      page.entries.map((entry) => entry.key),
      ["/p/b", "/p/é"],
    );
    assert.equal((await store.range("")).entries.length, keys.length + 3);
    assert.equal((await store.range("/p/", { after: "/a" })).entries.length, keys.length);
  });

  check("what breaks a bound is refused and changes nothing", async ({ store }) => {
    const { revision } = await store.txn(always(put("/a", "1")));
    const bad: Txn[] = [
      always(put("/a", "2"), put("/a", "3")),
      always(put("/a", "2"), { op: "delete", key: "/a" }),
      always(put("/a", "2"), { op: "deletePrefix", prefix: "/" }),
      always(put("", "2")),
      always(put("/\0", "2")),
      always(put("/\ud800", "2")),
      always(put("/a", "\ud800")),
      always(put("/".repeat(1025), "2")),
      always(put("/a", "x".repeat(1.5 * 1024 * 1024))),
      always(...Array.from({ length: 129 }, (_, n) => put(`/${n}`, ""))),
    ];
    for (const txn of bad) await assert.rejects(store.txn(txn), { code: "STORE_REFUSED" });
    assert.equal((await store.range("")).revision, revision);
  });

  check("a value comes back as it went in", async ({ store }) => {
    for (const value of ["", "\0", "a\0b", "é\u{1f600}\u{ffff}", "x".repeat(1024 * 1024)]) {
      await store.txn(always(put("/v", value)));
      assert.equal((await store.get("/v"))?.value, value);
    }
  });

  check("a watch sees every revision whole, once and in order", async ({ store }, t) => {
    const watch = collect(store, "/w/", 0, t);
    await store.txn(always(put("/w/a", "1"), put("/w/b", "2"), put("/other", "3")));
    await store.txn(always(put("/other", "4")));
    await store.txn(always({ op: "deletePrefix", prefix: "/w/" }));
    const batches = await watch.take(2);
    assert.deepEqual(
      batches.map((batch) => batch.map((event) => `${event.type} ${event.key}`)),
      [
        ["put /w/a", "put /w/b"],
        ["delete /w/a", "delete /w/b"],
      ],
    );
    for (const batch of batches) assert.equal(new Set(batch.map((event) => event.revision)).size, 1);
  });

  check("a range and a watch from the next revision miss nothing", async ({ store }, t) => {
    await store.txn(always(put("/w/a", "1")));
    const { revision } = await store.range("/w/");
    const second = await store.txn(always(put("/w/a", "2")));
    const watch = collect(store, "/w/", revision + 1, t);
    const third = await store.txn(always(put("/w/a", "3")));
    const batches = await watch.take(2);
    assert.deepEqual(
      batches.map((batch) => batch[0]?.revision),
      [second.revision, third.revision],
    );
  });

  check("a watch from a revision ahead waits for it", async ({ store }, t) => {
    const { revision } = await store.txn(always(put("/w", "1")));
    const watch = collect(store, "/w", revision + 2, t);
    await store.txn(always(put("/w", "2")));
    await store.txn(always(put("/w", "3")));
    assert.deepEqual(await watch.take(1), [[{ type: "put", key: "/w", value: "3", revision: revision + 2 }]]);
  });

  check("a watch ends when its signal aborts, and when its reader leaves", async ({ store }) => {
    const stop = new AbortController();
    const aborted = Array.fromAsync(store.watch("/", 0, stop.signal));
    stop.abort();
    assert.deepEqual(await aborted, []);
    assert.deepEqual(await Array.fromAsync(store.watch("/", 0, stop.signal)), []);
    const left = store.watch("/", 0, new AbortController().signal);
    await store.txn(always(put("/a", "1")));
    let seen = 0;
    for await (const _ of left) {
      seen += 1;
      break;
    }
    assert.equal(seen, 1);
  });

  check("what was compacted away is said to be, what stands stays", async ({ store }, t) => {
    const first = await store.txn(always(put("/a", "1")));
    await store.txn(always(put("/a", "2")));
    const { revision } = await store.txn(always(put("/b", "1")));
    await store.compact(revision);
    await assert.rejects(Array.fromAsync(store.watch("/", first.revision, t.signal)), (err: unknown) => {
      assert.deepEqual(dataOf(err), { code: "STORE_COMPACTED", compacted: revision });
      return true;
    });
    assert.equal((await collect(store, "/", revision, t).take(1))[0]?.[0]?.key, "/b");
    assert.equal((await store.range("/")).entries.length, 2);
    await store.compact(first.revision);
    await assert.rejects(store.compact(revision + 1), { code: "STORE_REFUSED" });
  });

  check("a lease's keys go with it, in one revision", async ({ store, elapse }, t) => {
    const lease = await store.grant(2000);
    await store.txn(always(put("/l/a", "1", lease), put("/l/b", "1", lease), put("/l/c", "1")));
    assert.equal((await store.get("/l/a"))?.lease, lease);
    const watch = collect(store, "/l/", 0, t);
    await elapse(4000);
    const [batch] = await watch.take(1);
    assert.deepEqual(batch?.map((event) => `${event.type} ${event.key}`).sort(), [
      "delete /l/a",
      "delete /l/b",
    ]);
    assert.deepEqual(
      (await store.range("/l/")).entries.map((entry) => entry.key),
      ["/l/c"],
    );
    await assert.rejects(store.keepAlive(lease), { code: "LEASE_NOT_FOUND" });
    await assert.rejects(store.txn(always(put("/l/a", "1", lease))), { code: "LEASE_NOT_FOUND" });
    await assert.rejects(store.revoke(lease), { code: "LEASE_NOT_FOUND" });
  });

  check("a lease that is renewed lives on, one that is revoked ends", async ({ store, elapse }) => {
    const lease = await store.grant(3000);
    await store.txn(always(put("/l/a", "1", lease)));
    for (let n = 0; n < 3; n++) {
      await elapse(2000);
      await store.keepAlive(lease);
    }
    assert.equal((await store.get("/l/a"))?.lease, lease);
    await store.revoke(lease);
    assert.equal(await store.get("/l/a"), undefined);
  });

  check("a put without a lease, or with another, takes the key off the first", async ({ store }) => {
    const [one, two] = [await store.grant(60_000), await store.grant(60_000)];
    assert.notEqual(one, two);
    await store.txn(always(put("/l/a", "1", one), put("/l/b", "1", one)));
    await store.txn(always(put("/l/a", "2"), put("/l/b", "2", two)));
    await store.revoke(one);
    assert.equal((await store.range("/l/")).entries.length, 2);
    await store.revoke(two);
    assert.deepEqual(
      (await store.range("/l/")).entries.map((entry) => entry.key),
      ["/l/a"],
    );
  });

  check("an unknown lease refuses its own transaction and no other", async ({ store }) => {
    const results = await Promise.allSettled([
      store.txn(always(put("/a", "1"))),
      store.txn(always(put("/b", "1", 987_654_321))),
      store.txn(always(put("/c", "1"))),
    ]);
    assert.deepEqual(
      results.map((result) => result.status),
      ["fulfilled", "rejected", "fulfilled"],
    );
    assert.equal(await store.get("/b"), undefined);
  });

  check("behaves as a sorted map with a history does", async ({ store }, t) => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyTxn, { minLength: 1, maxLength: 25 }), async (txns) => {
        await store.txn(always({ op: "deletePrefix", prefix: "/m/" }));
        const start = (await store.range("")).revision;
        const model = new Model(start);
        const live = collect(store, "/m/a", start + 1, t);
        const results = await Promise.all(txns.map((txn) => store.txn(txn)));
        assert.deepEqual(
          results,
          txns.map((txn) => model.run(txn)),
        );
        const { entries } = await store.range("/m/");
        assert.deepEqual(entries, model.entries());
        const wanted = model.history("/m/a");
        assert.deepEqual(await live.take(wanted.length), wanted);
        assert.deepEqual(await collect(store, "/m/a", start + 1, t).take(wanted.length), wanted);
      }),
      { numRuns: 60 },
    );
  });
}

/** The smallest thing that behaves like a store: a map and a list. Revisions count from `start`. */
class Model {
  readonly #map = new Map<
    string,
    { value: string; createRevision: number; modRevision: number; version: number }
  >();
  readonly #history: StoreEvent[][] = [];
  #revision: number;

  constructor(start: number) {
    this.#revision = start;
  }

  run(txn: Txn): { succeeded: boolean; revision: number } {
    const succeeded = txn.compare.every((compare) => this.#holds(compare));
    const events = ((succeeded ? txn.then : txn.orElse) ?? []).flatMap((op) => this.#apply(op));
    if (events.length > 0) {
      this.#revision += 1;
      this.#history.push(events);
    }
    return { succeeded, revision: this.#revision };
  }

  entries(): unknown[] {
    return [...this.#map]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, entry]) => ({ key, ...entry, lease: 0 }));
  }

  history(prefix: string): StoreEvent[][] {
    return this.#history
      .map((batch) => batch.filter((event) => event.key.startsWith(prefix)))
      .filter((batch) => batch.length > 0);
  }

  #holds(compare: Compare): boolean {
    const entry = this.#map.get(compare.key);
    if (compare.target === "value") {
      return entry !== undefined && (compare.op === "=") === (entry.value === compare.value);
    }
    const actual = entry?.[compare.target] ?? 0;
    const { op, value } = compare;
    return op === "="
      ? actual === value
      : op === "!="
        ? actual !== value
        : op === "<"
          ? actual < value
          : actual > value;
  }

  #apply(op: Op): StoreEvent[] {
    const revision = this.#revision + 1;
    if (op.op === "put") {
      const old = this.#map.get(op.key);
      this.#map.set(op.key, {
        value: op.value,
        createRevision: old?.createRevision ?? revision,
        modRevision: revision,
        version: (old?.version ?? 0) + 1,
      });
      return [{ type: "put", key: op.key, value: op.value, revision }];
    }
    const matches = (key: string): boolean =>
      op.op === "delete" ? key === op.key : key.startsWith(op.prefix);
    const gone = [...this.#map.keys()].filter(matches).sort();
    for (const key of gone) this.#map.delete(key);
    return gone.map((key) => ({ type: "delete", key, revision }));
  }
}
