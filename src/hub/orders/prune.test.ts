import assert from "node:assert/strict";
import test from "node:test";
import { put } from "../records/core.ts";
import { forgetOldOrders } from "./old-orders.ts";
import { keys } from "../records/keys.ts";
import { makeOrder, makeRelease, startTestHub } from "../hub.fixture.ts";

test("100 orders are kept, and of the older ones those that a node may still stand on", async (t) => {
  const hub = await startTestHub(t);
  const { core, orders } = hub.hub;
  const release = await makeRelease(hub.cluster, "shop", "one");
  const place = { app: "shop", env: "default" };
  const digests: string[] = [];
  for (let seq = 1; seq <= 110; seq++) {
    const selector = seq === 2 || seq === 3 ? "role=db" : "role=web";
    const roster = { nodes: [] };
    const { envelope, digest } = await makeOrder(hub.cluster, release.id, roster, { seq, selector });
    const record = { digest, epoch: 0, seq, order: envelope };
    const settle = { settle: envelope, published: seq === 2 || seq === 5, receipts: [] };
    const then = [
      put(keys.logged("shop", "default", record), record),
      put(keys.head("shop", "default"), record),
    ];
    await core.store.txn({ compare: [], then: [...then, put(keys.settle(digest), settle)] });
    await core.store.txn({ compare: [], then: [put(keys.receipt(digest, "0".repeat(32)), envelope)] });
    digests.push(digest);
  }
  await core.mirror.reached((await core.store.range("", { limit: 1 })).revision);
  await forgetOldOrders(core, orders, place);
  const kept = orders.log(place).map(({ seq }) => seq);
  assert.deepEqual(
    kept.slice(0, 100),
    Array.from({ length: 100 }, (_, i) => 110 - i),
  );
  assert.deepEqual(
    kept.slice(100),
    [5, 3, 2],
    "the newest settled for web, the newest and the newest settled for db",
  );
  for (const [at, digest] of digests.slice(0, 10).entries()) {
    const { entries } = await core.store.range(keys.receipts(digest));
    assert.equal(entries.length, [2, 3, 5].includes(at + 1) ? 1 : 0, `${at + 1}`);
  }
});
