import assert from "node:assert/strict";
import test, { type TestContext } from "node:test";
import type { InstanceReport } from "../../api/field-schemas.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";
import {
  joinNode,
  makeOrder,
  makeReceipt,
  makeRelease,
  makeSettle,
  reportOf,
  rosterOf,
  startTestHub,
  wantedUntil,
  type MadeOrder,
  type TestHub,
  type TestNode,
} from "../hub.fixture.ts";

const LONG_MS = 120_000;

interface Story {
  readonly hub: TestHub;
  readonly node: TestNode;
  readonly order: MadeOrder;
  /** Of the answer that told of the order and let it begin. */
  readonly etag: string;
}

async function ordered(t: TestContext): Promise<Story> {
  const hub = await startTestHub(t);
  const node = await joinNode(t, hub, "web1");
  const release = await makeRelease(hub.cluster, "shop", "one");
  await hub.client.postRelease(release.envelope);
  const roster = rosterOf([node]);
  const order = await makeOrder(hub.cluster, release.id, roster);
  await hub.client.postOrder(order.envelope, roster, await makeSettle(hub.cluster, order, 1));
  await node.client.report(reportOf());
  const { etag } = await wantedUntil(node.client, ({ apps }) => apps[0]?.gates[order.digest] === "go");
  return { hub, node, order, etag };
}

/** Resolves when the order stands, as its operator sees it. */
async function done({ hub, node, order }: Story, instances: readonly InstanceReport[] = []): Promise<void> {
  const receipts = [await makeReceipt(hub.cluster, node, order)];
  await node.client.report(reportOf({ receipts, instances: [...instances] }));
  const stands = async (): Promise<boolean> =>
    (await hub.client.app("shop"))[0]?.standing?.digest === order.digest;
  await eventually("the order stands", stands);
}

const left = (release: ReleaseId): InstanceReport => ({
  app: "shop",
  env: "default",
  release,
  commit: null,
  process: "web",
  instance: "web.1",
  socket: "web",
  protocol: "tcp",
  host: "127.0.0.1",
  port: 8000,
  pid: null,
  state: "draining",
  since: new Date().toISOString(),
  current: false,
});

test("a settle is told with the next news", async (t) => {
  const story = await ordered(t);
  const { hub, node, order } = story;
  const waiting = node.client.wanted(story.etag, LONG_MS);
  await done(story);
  const release = await makeRelease(hub.cluster, "shop", "two");
  await hub.client.postRelease(release.envelope);
  const roster = rosterOf([node]);
  const next = await makeOrder(hub.cluster, release.id, roster, { seq: 2, prev: order.digest });
  await hub.client.postOrder(next.envelope, roster, null);
  const app = (await waiting)?.apps[0];
  assert.deepEqual(app?.orders, [next.envelope, order.envelope]);
  assert.equal(app?.settles.length, 1);
});

test("a settle that no news follows ends the poll in place of nothing new", async (t) => {
  const story = await ordered(t);
  await done(story);
  const wanted = await story.node.client.wanted(story.etag, 300);
  assert.equal(wanted?.apps[0]?.settles.length, 1);
  assert.equal(await story.node.client.wanted(wanted?.etag, 0), undefined);
});

test("a settle is told at once to a node that has something left to end", async (t) => {
  const story = await ordered(t);
  let told = 0;
  const waiting = story.node.client.wanted(story.etag, LONG_MS).then((wanted) => {
    told = wanted?.apps[0]?.settles.length ?? 0;
  });
  await done(story, [left("0".repeat(32) as ReleaseId)]);
  await eventually("the settle is told", () => told === 1);
  await waiting;
});
