/** What a hub keeps of what is posted, and what nodes that lie or were deceived report: only what nodes would take, too. */
import assert from "node:assert/strict";
import test, { type TestContext } from "node:test";
import type { Settle } from "../../trust/document/documents.ts";
import { readUnverified, seal, type Envelope } from "../../trust/document/envelope.ts";
import { generateSigner, type LocalSigner } from "../../trust/keys/keys.ts";
import {
  at,
  HOUR,
  joinNode,
  makeCluster,
  makeOrder,
  makeReceipt,
  makeRelease,
  makeSettle,
  reportOf,
  rosterOf,
  startTestHub,
  wantedUntil,
} from "../hub.fixture.ts";

/** A hub with two present nodes and a release of `shop`, of which nothing was ordered yet. */
async function shop(t: TestContext, cluster?: Awaited<ReturnType<typeof makeCluster>>) {
  const hub = await startTestHub(t, cluster === undefined ? {} : { cluster });
  const [one, two] = [await joinNode(t, hub, "web1"), await joinNode(t, hub, "web2")];
  for (const node of [one, two]) await node.client.report(reportOf());
  const { envelope, id } = await makeRelease(hub.cluster, "shop", "one");
  await hub.client.postRelease(envelope);
  return { hub, one, two, release: id, roster: rosterOf([one, two]) };
}

async function bent(settle: Envelope, change: Partial<Settle>, signer: LocalSigner): Promise<Envelope> {
  return await seal("settle.1", { ...readUnverified(settle, "settle.1"), ...change }, [signer]);
}

test("a settle is kept that who may deploy the app signed for that order, and once it is published no other", async (t) => {
  const { hub, one, release } = await shop(t);
  const { cluster, client } = hub;
  const roster = rosterOf([one]);
  const order = await makeOrder(cluster, release, roster, { selector: "name=web1" });
  const settle = await makeSettle(cluster, order, 1);
  const wrong: [Partial<Settle>, LocalSigner, string][] = [
    [{}, generateSigner(), "DOC_UNSIGNED"],
    [{ env: "prod" }, cluster.operator, "SETTLE_UNPROVEN"],
    [{ app: "blog" }, cluster.operator, "SETTLE_UNPROVEN"],
    [{ seq: 2 }, cluster.operator, "SETTLE_UNPROVEN"],
    [{ issued: at(3_600_000) }, cluster.operator, "DOC_FROM_FUTURE"],
  ];
  for (const [change, signer, code] of wrong) {
    const bad = await bent(settle, change, signer);
    await assert.rejects(client.postOrder(order.envelope, roster, bad), { code });
  }
  assert.deepEqual((await client.apps()).apps, [], "an order with such a settle is not taken either");
  await client.postOrder(order.envelope, roster, null);
  for (const [change, signer, code] of wrong)
    await assert.rejects(client.postSettle(await bent(settle, change, signer)), { code });
  await client.postSettle(settle);

  await wantedUntil(one.client, ({ apps }) => apps[0]?.gates[order.digest] === "go");
  await one.client.report(reportOf({ receipts: [await makeReceipt(cluster, one, order)] }));
  await wantedUntil(one.client, ({ apps }) => (apps[0]?.settles.length ?? 0) > 0);
  await client.postSettle(settle);
  await assert.rejects(client.postSettle(await bent(settle, { needs: 0 }, cluster.operator)), {
    code: "CONFLICT",
  });
});

test("an order names the one before it, and is of no epoch that is over", async (t) => {
  const cluster = await makeCluster();
  const { hub, roster, release } = await shop(t, cluster);
  const first = await makeOrder(cluster, release, roster);
  const charter = readUnverified(cluster.charter, "charter.1");
  const next = { ...charter, version: 2, epoch: 1, issued: at() };
  await hub.client.postCharter(await seal("charter.1", next, [cluster.operator]));
  const post = async (more: Parameters<typeof makeOrder>[3]): Promise<string> =>
    await hub.client.postOrder((await makeOrder(cluster, release, roster, more)).envelope, roster, null);
  const newest = await makeOrder(cluster, release, roster, { epoch: 1, seq: 1 });
  await hub.client.postOrder(newest.envelope, roster, null);
  await assert.rejects(post({ epoch: 1, seq: 2, prev: first.digest }), { code: "HEAD_MOVED" });
  await assert.rejects(post({ epoch: 0, seq: 9, prev: newest.digest }), { code: "HEAD_MOVED" });
});

test("what a node says that it holds is believed for the signatures on it alone", async (t) => {
  const { hub, one, roster, release } = await shop(t);
  const { cluster } = hub;
  const order = await makeOrder(cluster, release, roster);
  const forged = await makeOrder(cluster, release, roster, { seq: 5 }, generateSigner());
  const smaller = rosterOf([one]);
  const stranger = await bent(await makeSettle(cluster, order, 0), {}, generateSigner());
  for (const held of [
    { order: forged.envelope, roster, settle: null, receipts: [] },
    { order: order.envelope, roster: smaller, settle: null, receipts: [] },
  ]) {
    await one.client.report(reportOf({ heads: [{ app: "shop", env: "default", ...held }] as never }));
    assert.deepEqual((await hub.client.apps()).apps, []);
  }
  const held = { app: "shop", env: "default", order: order.envelope, roster, settle: stranger, receipts: [] };
  await one.client.report(reportOf({ heads: [held] as never }));
  const [view] = await hub.client.app("shop");
  assert.equal(view?.head?.digest, order.digest);
  assert.equal(view?.standing, null);
});

test("a receipt is taken from the node that it is of", async (t) => {
  const { hub, one, two, roster, release } = await shop(t);
  const order = await makeOrder(hub.cluster, release, roster);
  await hub.client.postOrder(order.envelope, roster, null);
  const genuine = await makeReceipt(hub.cluster, two, order);
  await one.client.report(reportOf({ receipts: [genuine] }));
  assert.deepEqual((await two.client.wanted(undefined, 0))?.lastReceipts, []);
  const inTwosName = await makeReceipt(hub.cluster, one, order, { node: two.kid });
  const signed = { ...inTwosName, s: inTwosName.s.map((one) => ({ ...one, k: two.kid })) };
  await one.client.report(reportOf({ receipts: [signed] }));
  await two.client.report(reportOf({ receipts: [signed] }));
  assert.deepEqual((await two.client.wanted(undefined, 0))?.lastReceipts, []);
  await two.client.report(reportOf({ receipts: [genuine] }));
  assert.deepEqual((await two.client.wanted(undefined, 0))?.lastReceipts, [genuine]);
});

test("what a node whose clock was ahead did with an order counts when it says so by the right time", async (t) => {
  const { hub, one, roster, release } = await shop(t);
  const order = await makeOrder(hub.cluster, release, roster);
  await hub.client.postOrder(order.envelope, roster, null);
  const steps: [Parameters<typeof makeReceipt>[3], isKept: boolean][] = [
    [{ verdict: "refused", code: "ORDER_EXPIRED", at: at(24 * HOUR) }, true],
    [{ verdict: "ok", at: at(-1000) }, true],
    [{ verdict: "refused", code: "DOC_FROM_FUTURE", at: at() }, false],
    [{ verdict: "ok", at: at(HOUR) }, true],
    [{ verdict: "undone", at: at() }, true],
    [{ verdict: "ok", at: at(-2000) }, false],
  ];
  let kept: unknown;
  for (const [more, isKept] of steps) {
    const receipt = await makeReceipt(hub.cluster, one, order, more);
    await one.client.report(reportOf({ receipts: [receipt] }));
    if (isKept) kept = receipt;
    assert.deepEqual((await one.client.wanted(undefined, 0))?.lastReceipts, [kept], JSON.stringify(more));
  }
});
