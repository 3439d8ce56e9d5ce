import assert from "node:assert/strict";
import { once } from "node:events";
import path from "node:path";
import test from "node:test";
import { tempDir } from "../../source/source.fixture.ts";
import { openSqliteStore } from "../../store/sqlite.ts";
import type { Store, StoreEvent } from "../../store/store.ts";
import { Mirror } from "./mirror.ts";

/** The store, whose watch is shut up until `goOn` and finds then that what came meanwhile was compacted away. */
function lagging(store: Store): { readonly store: Store; readonly goOn: () => void } {
  const lag = new AbortController();
  let isFirst = true;
  const watch = async function* (
    prefix: string,
    from: number,
    signal: AbortSignal,
  ): AsyncGenerator<readonly StoreEvent[], void> {
    if (isFirst) await once(lag.signal, "abort");
    isFirst = false;
    yield* store.watch(prefix, from, signal);
  };
  const own = Object.assign(Object.create(store) as Store, {
    watch,
    range: store.range.bind(store),
  });
  return { store: own, goOn: () => lag.abort() };
}

test("after a gap in the history whoever follows hears of what is gone, too", async (t) => {
  await using store = await openSqliteStore(path.join(tempDir(t), "hub.db"), { keepRevisions: 10 });
  const put = async (key: string, value: string): Promise<number> =>
    (await store.txn({ compare: [], then: [{ op: "put", key, value }] })).revision;
  await put("/names/old", "1");
  await put("/names/kept", "2");
  const stop = new AbortController();
  using _follower = { [Symbol.dispose]: () => stop.abort() };
  const { store: behind, goOn } = lagging(store);
  const mirror = await Mirror.follow(behind, stop.signal, (err) => assert.fail(String(err)));
  const changed = new Set<string>();
  mirror.onChange((keys) => keys.forEach((key) => changed.add(key)));
  await store.txn({ compare: [], then: [{ op: "delete", key: "/names/old" }] });
  const revision = await put("/names/new", "3");
  await store.compact(revision);
  goOn();
  await mirror.reached(revision);
  assert.deepEqual([...changed].toSorted(), ["/names/kept", "/names/new", "/names/old"]);
  assert.equal(mirror.get("/names/old"), undefined);
  assert.equal(mirror.get("/names/new"), 3);
});
