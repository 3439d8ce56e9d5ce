import assert from "node:assert/strict";
import test from "node:test";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import { generateSigner } from "../trust/keys/keys.ts";
import { seal } from "../trust/document/envelope.ts";
import {
  HOUR,
  at,
  joinNode,
  keyClient,
  makeCluster,
  makeOrder,
  makeReceipt,
  makeRelease,
  makeSettle,
  operatorClient,
  reportOf,
  rosterOf,
  startTestHub,
  wantedUntil,
} from "./hub.fixture.ts";

test("an order goes from the operator to the node, and its receipts settle it", async (t) => {
  const hub = await startTestHub(t);
  const node = await joinNode(t, hub, "web1");
  await node.client.report(reportOf());
  assert.deepEqual((await node.client.wanted(undefined, 0))?.apps, []);

  const release = await makeRelease(hub.cluster, "shop", "one");
  await hub.client.postRelease(release.envelope);
  const roster = rosterOf([node]);
  const order = await makeOrder(hub.cluster, release.id, roster);
  const going = wantedUntil(node.client, ({ apps }) => apps[0]?.gates[order.digest] === "go");
  const settle = await makeSettle(hub.cluster, order, 1);
  assert.equal(await hub.client.postOrder(order.envelope, roster, settle), order.digest);

  const [app] = (await going).apps;
  assert.deepEqual(app?.orders, [order.envelope]);
  assert.deepEqual(app?.releases, [release.envelope]);
  assert.deepEqual(app?.rosters, { [order.body.roster]: roster });
  assert.deepEqual(app?.settles, [], "not before it counts");

  const settled = wantedUntil(node.client, ({ apps }) => apps[0]?.settles.length === 1);
  const receipt = await makeReceipt(hub.cluster, node, order);
  const answer = await node.client.report(reportOf({ receipts: [receipt] }));
  assert.equal(answer.receipts.length, 1);
  assert.deepEqual((await settled).apps[0]?.settles, [{ settle, receipts: [receipt] }]);

  const [view] = await hub.client.app("shop");
  assert.equal(view?.standing?.digest, order.digest);
  assert.deepEqual((await node.client.wanted(undefined, 0))?.lastReceipts, [receipt]);
});

test("a poll without news ends after its time with nothing", async (t) => {
  const hub = await startTestHub(t);
  const node = await joinNode(t, hub, "web1");
  const first = await node.client.wanted(undefined, 0);
  assert.equal(await node.client.wanted(first?.etag, 30), undefined);
});

test("who is not known may do nothing but look and join", async (t) => {
  const hub = await startTestHub(t);
  const stranger = keyClient(hub.cluster, hub.address);
  atEnd(t, () => stranger.close());
  assert.equal((await stranger.hub()).cluster, hub.cluster.id);
  assert.deepEqual(await stranger.charters(0), [hub.cluster.charter]);
  await assert.rejects(stranger.nodes(), { code: "UNKNOWN_CLIENT" });
  await assert.rejects(stranger.wanted(undefined, 0), { code: "UNKNOWN_CLIENT" });

  const mallory = await operatorClient(hub.cluster, hub.address, generateSigner());
  atEnd(t, () => mallory.close());
  await assert.rejects(mallory.nodes(), { code: "UNKNOWN_CLIENT" });
});

test("a hub with another key is not spoken to", async (t) => {
  const hub = await startTestHub(t);
  const other = await makeCluster();
  const client = await operatorClient({ ...hub.cluster, hubKey: other.hubKey }, hub.address);
  atEnd(t, () => client.close());
  await assert.rejects(client.hub(), { code: "PIN_MISMATCH" });
});

test("a revoked node is cut off at once and told why", async (t) => {
  const hub = await startTestHub(t);
  const node = await joinNode(t, hub, "web1");
  const first = await node.client.wanted(undefined, 0);
  const refused = assert.rejects(
    node.client.wanted(first?.etag, 20_000),
    (err: { code: string; data: { revoke: unknown } }) => {
      assert.equal(err.code, "REVOKED");
      assert.deepEqual(err.data.revoke, revoke);
      return true;
    },
  );
  const revoke = await seal(
    "revoke.1",
    { cluster: hub.cluster.id, node: node.kid, reason: "stolen", issued: at() },
    [hub.cluster.operator],
  );
  await hub.client.postRevocation(revoke);
  await refused;
  await assert.rejects(node.client.report(reportOf()), { code: "REVOKED" });
  assert.deepEqual((await hub.client.nodes()).nodes, []);
});

test("two agents with one key are told, and neither is given orders", async (t) => {
  const hub = await startTestHub(t);
  const node = await joinNode(t, hub, "web1");
  const release = await makeRelease(hub.cluster, "shop", "one");
  await hub.client.postRelease(release.envelope);
  const roster = rosterOf([node]);
  await hub.client.postOrder((await makeOrder(hub.cluster, release.id, roster)).envelope, roster, null);

  assert.equal((await node.client.report(reportOf({ boot: "boot-aaaa" }))).duplicate, false);
  assert.equal((await node.client.report(reportOf({ boot: "boot-bbbb" }))).duplicate, false, "a restart");
  assert.equal((await node.client.report(reportOf({ boot: "boot-aaaa" }))).duplicate, true, "back again");
  const wanted = await node.client.wanted(undefined, 0);
  assert.equal(wanted?.duplicate, true);
  assert.deepEqual(wanted?.apps, []);
  const [view] = (await hub.client.nodes()).nodes;
  assert.deepEqual([view?.duplicate, view?.present], [true, false]);
});

test("a node whose clock is far off counts as absent", async (t) => {
  const hub = await startTestHub(t);
  const node = await joinNode(t, hub, "web1");
  await node.client.report(reportOf());
  assert.equal((await hub.client.nodes()).nodes[0]?.present, true);
  await node.client.report(reportOf({ at: at(-HOUR) }));
  const [view] = (await hub.client.nodes()).nodes;
  assert.equal(view?.present, false);
  assert.ok((view?.skewMs ?? 0) > HOUR - 60_000);
});
