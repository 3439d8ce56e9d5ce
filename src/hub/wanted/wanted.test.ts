import assert from "node:assert/strict";
import test from "node:test";
import { joinNode, makeOrder, makeRelease, rosterOf, startTestHub, type TestNode } from "../hub.fixture.ts";

/** Polls until nothing new comes. @returns what it was told last */
async function settledEtag(node: TestNode, etag?: string): Promise<string> {
  const wanted = await node.client.wanted(etag, etag === undefined ? 0 : 300);
  return wanted === undefined ? (etag ?? "") : await settledEtag(node, wanted.etag);
}

test("a waiting poll that news does not concern is looked at, and no answer is made for it", async (t) => {
  const hub = await startTestHub(t);
  const web = await joinNode(t, hub, "web1");
  const db = await joinNode(t, hub, "db1", { role: "db" });
  const release = await makeRelease(hub.cluster, "bank", "one");
  await hub.client.postRelease(release.envelope);
  const etag = await settledEtag(web);
  const made: string[] = [];
  const { receipts } = hub.hub;
  // Each answer that is made carries them.
  const own = receipts.own.bind(receipts);
  receipts.own = (node) => {
    made.push(node);
    return own(node);
  };
  const waiting = web.client.wanted(etag, 1000);
  while (!hub.hub.wanted.isWaiting(web.kid)) await new Promise((resolve) => setImmediate(resolve));
  const roster = rosterOf([web, db]);
  const order = await makeOrder(hub.cluster, release.id, roster, { app: "bank", selector: "db1" });
  await hub.client.postOrder(order.envelope, roster, null);
  const told = await db.client.wanted(undefined, 0);
  assert.equal(told?.apps[0]?.app, "bank");
  assert.equal(await waiting, undefined);
  assert.deepEqual([...new Set(made)], [db.kid]);
});

test("a node that was told before the hub started anew is told nothing again", async (t) => {
  const first = await startTestHub(t);
  const node = await joinNode(t, first, "web1");
  const etag = await settledEtag(node);
  const { cluster, home, port } = first;
  await first.close();
  const second = await startTestHub(t, { cluster, home, listen: { host: "127.0.0.1", port } });
  const again = await node.client.wanted(etag, 0);
  assert.equal(again, undefined);
  await second.close();
});
