import assert from "node:assert/strict";
import fs from "node:fs/promises";
import path from "node:path";
import test from "node:test";
import { digestOf, type ReleaseId } from "../../lib/text/ids.ts";
import { openSqliteStore, restoreSqliteStore } from "../../store/sqlite.ts";
import { generateSigner } from "../../trust/keys/keys.ts";
import { put, write } from "../records/core.ts";
import { keys } from "../records/keys.ts";
import {
  HOUR,
  at,
  joinNode,
  makeCluster,
  makeOrder,
  makeReceipt,
  makeRelease,
  makeSettle,
  reportOf,
  rosterOf,
  startTestHub,
  tempHome,
  wantedUntil,
  type MadeOrder,
  type TestHub,
  type TestNode,
} from "../hub.fixture.ts";

interface Shop {
  readonly hub: TestHub;
  readonly node: TestNode;
  readonly release: ReleaseId;
}

async function shop(t: Parameters<typeof startTestHub>[0]): Promise<Shop> {
  const hub = await startTestHub(t);
  const node = await joinNode(t, hub, "web1");
  await node.client.report(reportOf());
  const release = await makeRelease(hub.cluster, "shop", "one");
  await hub.client.postRelease(release.envelope);
  return { hub, node, release: release.id };
}

/** Lets the node say that it did what the order wants, and waits until that stands. */
async function settleOn(node: TestNode, hub: TestHub, order: MadeOrder): Promise<void> {
  await wantedUntil(node.client, ({ apps }) => apps[0]?.gates[order.digest] === "go");
  const receipt = await makeReceipt(hub.cluster, node, order);
  await node.client.report(reportOf({ receipts: [receipt] }));
  await wantedUntil(node.client, ({ apps }) => (apps[0]?.settles.length ?? 0) > 0);
}

test("an order that does not follow the head is refused with the head", async (t) => {
  const { hub, node, release } = await shop(t);
  const roster = rosterOf([node]);
  const first = await makeOrder(hub.cluster, release, roster);
  await hub.client.postOrder(first.envelope, roster, await makeSettle(hub.cluster, first, 1));
  await settleOn(node, hub, first);
  const blind = await makeOrder(hub.cluster, release, roster, { seq: 1, generation: 7 });
  await assert.rejects(hub.client.postOrder(blind.envelope, roster, null), {
    code: "HEAD_MOVED",
    data: { head: first.digest, epoch: 0, seq: 1, status: 409 },
  });
  const leap = await makeOrder(hub.cluster, release, roster, { seq: 3, prev: first.digest });
  await assert.rejects(hub.client.postOrder(leap.envelope, roster, null), { code: "HEAD_MOVED" });
  const next = await makeOrder(hub.cluster, release, roster, { seq: 2, prev: first.digest, generation: 1 });
  assert.equal(await hub.client.postOrder(next.envelope, roster, null), next.digest);
});

test("a node that waits is told of an order together with what was decided about it", async (t) => {
  const { hub, node, release } = await shop(t);
  const before = await node.client.wanted(undefined, 0);
  const polled = node.client.wanted(before?.etag, 20_000);
  const roster = rosterOf([node]);
  const order = await makeOrder(hub.cluster, release, roster);
  await hub.client.postOrder(order.envelope, roster, await makeSettle(hub.cluster, order, 1));
  assert.deepEqual((await polled)?.apps[0]?.gates, { [order.digest]: "go" });
});

test("the very same bytes again are answered as the first time, also when others came since", async (t) => {
  const { hub, node, release } = await shop(t);
  const roster = rosterOf([node]);
  const first = await makeOrder(hub.cluster, release, roster);
  await hub.client.postOrder(first.envelope, roster, await makeSettle(hub.cluster, first, 1));
  assert.equal(await hub.client.postOrder(first.envelope, roster, null), first.digest);
  await settleOn(node, hub, first);
  const next = await makeOrder(hub.cluster, release, roster, { seq: 2, prev: first.digest });
  await hub.client.postOrder(next.envelope, roster, null);
  assert.equal(await hub.client.postOrder(first.envelope, roster, null), first.digest);
  assert.equal((await hub.client.app("shop"))[0]?.head?.digest, next.digest);
});

test("an order is found by its digest, or found to be none, without a look at all that ever was", async (t) => {
  const { hub, node, release } = await shop(t);
  const { core, orders } = hub.hub;
  const roster = rosterOf([node]);
  assert.equal(orders.find(digestOf("no order")), undefined);
  const looks = t.mock.method(core.mirror, "list");
  const of = (): number =>
    looks.mock.calls.filter(({ arguments: [prefix] }) => String(prefix) === "/orders/").length;
  const order = await makeOrder(hub.cluster, release, roster);
  await hub.client.postOrder(order.envelope, roster, null);
  const before = of();
  assert.equal(orders.find(order.digest)?.seq, 1);
  assert.equal(orders.find(digestOf("another")), undefined);
  assert.equal(of(), before);
  // A newer order of the same app makes no other list of apps.
  const head = core.mirror.get(keys.head("shop", "default"))!;
  await write(core, [put(keys.head("shop", "default"), { ...head, seq: 2 })]);
  assert.deepEqual(orders.appEnvs(), [{ app: "shop", env: "default" }]);
  assert.equal(orders.head({ app: "shop", env: "default" })?.seq, 2);
  assert.equal(of(), before);
  await write(core, [put(keys.head("blog", "default"), head)]);
  assert.equal(orders.appEnvs().length, 2);
  await write(core, [{ op: "delete", key: keys.head("blog", "default") }]);
  assert.equal(orders.appEnvs().length, 1);
  const after = of();
  const key = keys.logged("shop", "default", { epoch: 0, seq: 1 });
  await write(core, [{ op: "delete", key }]);
  assert.equal(orders.find(order.digest), undefined);
  assert.equal(of(), after);
});

test("of orders sent at once, one wins and the others hear of it", async (t) => {
  const { hub, node, release } = await shop(t);
  const roster = rosterOf([node]);
  const orders = await Promise.all(
    [0, 1, 2, 3].map(async (generation) => await makeOrder(hub.cluster, release, roster, { generation })),
  );
  const results = await Promise.allSettled(
    orders.map(async ({ envelope }) => await hub.client.postOrder(envelope, roster, null)),
  );
  assert.equal(results.filter(({ status }) => status === "fulfilled").length, 1);
  for (const result of results) {
    if (result.status === "rejected") assert.equal((result.reason as { code: string }).code, "HEAD_MOVED");
  }
});

test("while a deployment is under way another one is refused", async (t) => {
  const { hub, node, release } = await shop(t);
  const roster = rosterOf([node]);
  const first = await makeOrder(hub.cluster, release, roster);
  await hub.client.postOrder(first.envelope, roster, null);
  const next = await makeOrder(hub.cluster, release, roster, { seq: 2, prev: first.digest });
  await assert.rejects(hub.client.postOrder(next.envelope, roster, null), {
    code: "DEPLOY_IN_PROGRESS",
    message: /^a deployment of shop\/default is under way and waits for web1/,
    data: {
      app: "shop",
      env: "default",
      order: first.digest,
      waitsFor: ["web1"],
      status: 409,
    },
  });
});

test("orders that nobody could carry out are refused, and nothing is stored", async (t) => {
  const { hub, node, release } = await shop(t);
  const { cluster } = hub;
  const roster = rosterOf([node]);
  const post = async (order: MadeOrder, given = roster): Promise<unknown> =>
    await hub.client.postOrder(order.envelope, given, null);
  const unknown = digestOf("no such release").slice(0, 32) as ReleaseId;
  const cases: readonly (readonly [string, Promise<MadeOrder>])[] = [
    ["DOC_UNSIGNED", makeOrder(cluster, release, roster, {}, generateSigner())],
    ["WRONG_CLUSTER", makeOrder(await makeCluster(), release, roster)],
    ["ORDER_UNKNOWN_RELEASE", makeOrder(cluster, unknown, roster)],
    ["ORDER_UNKNOWN_RELEASE", makeOrder(cluster, release, roster, { fallback: unknown })],
    ["ORDER_EXPIRED", makeOrder(cluster, release, roster, { applyBefore: at(-1000) })],
    ["DOC_FROM_FUTURE", makeOrder(cluster, release, roster, { issued: at(HOUR) })],
    ["CHARTER_ROLLBACK", makeOrder(cluster, release, roster, { epoch: 9 })],
    ["DOC_MALFORMED", makeOrder(cluster, release, { nodes: [] })],
  ];
  for (const [code, order] of cases) await assert.rejects(post(await order), { code }, code);
  const good = await makeOrder(cluster, release, roster);
  const tampered = {
    ...good.envelope,
    p: (await makeOrder(cluster, release, roster, { generation: 5 })).envelope.p,
  };
  await assert.rejects(hub.client.postOrder(tampered, roster, null), { code: "DOC_UNSIGNED" });
  assert.deepEqual((await hub.client.apps()).apps, []);
});

test("a settle of another order, or without its receipts, makes nothing stand", async (t) => {
  const { hub, node, release } = await shop(t);
  const roster = rosterOf([node]);
  const order = await makeOrder(hub.cluster, release, roster);
  const other = await makeOrder(hub.cluster, release, roster, { generation: 3 });
  const foreign = await makeSettle(hub.cluster, other, 1);
  await assert.rejects(hub.client.postOrder(order.envelope, roster, foreign), { code: "SETTLE_UNPROVEN" });
  await assert.rejects(hub.client.postSettle(foreign), { code: "NOT_FOUND" });
  await hub.client.postOrder(order.envelope, roster, null);
  await hub.client.postSettle(await makeSettle(hub.cluster, order, 1));
  const impostor = await makeReceipt(hub.cluster, { ...node, key: generateSigner() }, order);
  const { receipts } = await node.client.report(reportOf({ receipts: [impostor] }));
  assert.equal(receipts.length, 1, "told not to send it again");
  assert.equal(await hub.hub.orders.publishSettle(order.digest), false);
  assert.equal((await hub.client.app("shop"))[0]?.standing, null);
});

test("a late node with matching labels gets what stands, one without gets nothing", async (t) => {
  const { hub, node, release } = await shop(t);
  const roster = rosterOf([node]);
  const order = await makeOrder(hub.cluster, release, roster);
  await hub.client.postOrder(order.envelope, roster, await makeSettle(hub.cluster, order, 1));
  await settleOn(node, hub, order);
  const late = await joinNode(t, hub, "web2", { role: "web" });
  const db = await joinNode(t, hub, "db1", { role: "db" });
  const wanted = await late.client.wanted(undefined, 0);
  assert.deepEqual(wanted?.apps[0]?.orders, [order.envelope]);
  assert.equal(wanted?.apps[0]?.settles.length, 1);
  assert.deepEqual((await db.client.wanted(undefined, 0))?.apps, []);
});

test("head and standing are kept apart for a node", async (t) => {
  const { hub, node, release } = await shop(t);
  const roster = rosterOf([node]);
  const first = await makeOrder(hub.cluster, release, roster);
  await hub.client.postOrder(first.envelope, roster, await makeSettle(hub.cluster, first, 1));
  await settleOn(node, hub, first);
  const two = await makeRelease(hub.cluster, "shop", "two");
  await hub.client.postRelease(two.envelope);
  const second = await makeOrder(hub.cluster, two.id, roster, {
    seq: 2,
    prev: first.digest,
    fallback: release,
  });
  await hub.client.postOrder(second.envelope, roster, null);
  const wanted = await node.client.wanted(undefined, 0);
  assert.deepEqual(wanted?.apps[0]?.orders, [second.envelope, first.envelope]);
  assert.equal(wanted?.apps[0]?.releases.length, 2);
});

test("a hub restored from an old backup asks its nodes, takes no order meanwhile, and knows all again", async (t) => {
  const home = await tempHome(t);
  const cluster = await makeCluster();
  const file = path.join(home, "lib", "hub.db");
  const backup = path.join(home, "backup.db");
  await fs.mkdir(path.dirname(file), { recursive: true });
  const store = await openSqliteStore(file);
  const before = await startTestHub(t, { cluster, home, store });
  const node = await joinNode(t, before, "web1");
  await node.client.report(reportOf());
  const one = await makeRelease(cluster, "shop", "one");
  await store.backup(backup);
  await before.client.postRelease(one.envelope);

  const roster = rosterOf([node]);
  const order = await makeOrder(cluster, one.id, roster);
  const settle = await makeSettle(cluster, order, 1);
  await before.client.postOrder(order.envelope, roster, settle);
  await settleOn(node, before, order);
  await before.close();
  await restoreSqliteStore(backup, file);

  const after = await startTestHub(t, { cluster, home, listen: { host: "127.0.0.1", port: before.port } });
  assert.equal((await after.client.hub()).catchingUp, true);
  const next = await makeOrder(cluster, one.id, roster, { seq: 2, prev: order.digest });
  await assert.rejects(after.client.postOrder(next.envelope, roster, null), { code: "HUB_CATCHING_UP" });
  assert.equal((await node.client.wanted(undefined, 0))?.catchingUp, true);

  const receipts = [await makeReceipt(cluster, node, order)];
  const releases = [one.envelope];
  const heads = [{ app: "shop", env: "default", order: order.envelope, roster, settle, receipts, releases }];
  assert.equal((await node.client.report(reportOf({ heads }))).catchingUp, false);
  assert.equal((await after.client.hub()).catchingUp, false);
  const [view] = await after.client.app("shop");
  assert.deepEqual([view?.head?.digest, view?.standing?.digest], [order.digest, order.digest]);
  // What stands has ended well as soon as the hub looks at it.
  while (after.hub.rollouts.underWay(order.digest)) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(await after.client.postOrder(next.envelope, roster, null), next.digest);
});
