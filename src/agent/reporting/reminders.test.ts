import assert from "node:assert/strict";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import test, { type TestContext } from "node:test";
import type { Membership } from "../../api/member-schemas.ts";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { fakeClock, type FakeClock } from "../../lib/time/fake-clock.fixture.ts";
import { writeFileAtomic } from "../../lib/disk/files.ts";
import type { Change } from "../../trust/members/changes.ts";
import {
  at,
  CLUSTER,
  labelFor,
  orderBody,
  receiptBy,
  sealOrder,
  settleBody,
  T0,
  testCluster,
  testNode,
  type TestCluster,
  type TestNode,
} from "../../trust/cluster.fixture.ts";
import { seal, type Envelope } from "../../trust/document/envelope.ts";
import { generateSigner, type Signer } from "../../trust/keys/keys.ts";
import { acceptOrder, acceptSettle } from "../../trust/node/node-orders.ts";
import { acceptBirth, acceptLabel, newNodeState } from "../../trust/node/node-state.ts";
import { createNodeStore, type NodeStore } from "../node/node-store.ts";
import { openRemembered } from "../node/remembered-members.ts";
import type { Offered, Source } from "../source/source.ts";
import { Reminders } from "./reminders.ts";

/** A hub as far as reminders see it: what it says of members. */
class Hub {
  incarnation = "one";
  told: Membership = { mark: "mark", changes: [], revision: 0 };
  readonly asked: number[] = [];

  says(...changes: Change[]): void {
    this.told = { ...this.told, changes, revision: this.told.revision + 1 };
  }

  source(): Source {
    const membership = async (after: number): Promise<Membership> => {
      this.asked.push(after);
      return this.told;
    };
    return { name: "hub", depots: [], paced: true, membership } as unknown as Source;
  }
}

interface World {
  readonly cluster: TestCluster;
  readonly self: TestNode;
  readonly other: TestNode;
  readonly store: NodeStore;
  readonly clock: FakeClock;
  /** The node's own. */
  readonly receipts: Envelope[];
  readonly hub: Hub;
  /** As an agent that is started now. */
  readonly started: () => Promise<Reminders>;
  readonly hear: (reminders: Reminders, more?: Partial<Offered>) => Promise<void>;
}

async function world(t: TestContext): Promise<World> {
  const dir = await fs.mkdtemp(path.join(os.tmpdir(), "sk-"));
  atEnd(t, async () => await fs.rm(dir, { recursive: true, force: true }));
  const cluster = await testCluster();
  const [self, other] = [await testNode(cluster, "web1"), await testNode(cluster, "web2")];
  const store = await createNodeStore(dir, newNodeState(cluster.envelope, cluster.pin, T0));
  await store.apply([(state) => acceptBirth(state, self, contextOf(self))]);
  const clock = fakeClock(T0);
  const hub = new Hub();
  const receipts: Envelope[] = [];
  const documents = { ticket: self.ticket, enrol: self.enrol, label: null, revoke: null };
  return {
    cluster,
    self,
    other,
    store,
    clock,
    receipts,
    hub,
    started: async () =>
      new Reminders(store, await openRemembered(dir, writeFileAtomic), clock, () => receipts),
    hear: async (reminders, more = {}) => {
      const fields = { etag: "e", catchingUp: false, duplicate: false, apps: [], commands: [] };
      const { incarnation } = hub;
      const said = {
        incarnation,
        members: hub.told.revision,
        charters: [cluster.envelope],
        identity: documents,
      };
      await reminders.heard({ ...fields, ...said, ...more }, hub.source(), t.signal);
    },
  };
}

const contextOf = ({ signer }: TestNode): { now: number; self: TestNode["signer"]["kid"] } => ({
  now: T0,
  self: signer.kid,
});

async function endOf(node: TestNode, by: Signer): Promise<Change> {
  const body = { cluster: CLUSTER, node: node.signer.kid, reason: "lost", issued: at(0) };
  return { label: null, revoke: await seal("revoke.1", body, [by]) };
}

test("what a hub told and does not name after it was set back, it is told until it does", async (t) => {
  const { hub, cluster, other, clock, started, hear } = await world(t);
  const end = await endOf(other, cluster.alice);
  hub.says(end);
  await hear(await started());

  const reminders = await started();
  Object.assign(hub, { incarnation: "two", told: { mark: "mark", changes: [], revision: 0 } });
  await hear(reminders);
  assert.deepEqual(hub.asked, [0, 0]);
  assert.equal(reminders.isDue(), true);
  assert.deepEqual(reminders.toTell()?.reminder?.changes, [end]);
  assert.equal(reminders.isDue(), true, "as long as the report did not arrive");
  reminders.toTell();
  reminders.delivered();
  assert.equal(reminders.isDue(), false);
  clock.advance(300_000);
  assert.equal(reminders.isDue(), true, "what was refused then may be taken now");
  hub.says(end);
  await hear(reminders);
  assert.equal(reminders.isDue(), false);
});

test("a store that lost something without another life is noticed by its smaller number", async (t) => {
  const { hub, cluster, other, started, hear } = await world(t);
  hub.says(await endOf(other, cluster.alice));
  const reminders = await started();
  await hear(reminders);
  assert.equal(reminders.isDue(), false);
  hub.told = { mark: "mark", changes: [], revision: 0 };
  await hear(reminders);
  assert.equal(reminders.isDue(), true);
});

test("a hub that shows less of the node itself than it holds is told", async (t) => {
  const { cluster, self, store, started, hear } = await world(t);
  const label = await labelFor(cluster.alice, self.signer.kid, { labels: { role: "web" }, serial: 2 });
  const order = orderBody(1);
  const envelope = await sealOrder(order, cluster.alice);
  const settle = await seal("settle.1", settleBody(order, envelope), [cluster.alice]);
  const context = contextOf(self);
  await store.apply([(state) => acceptLabel(state, label, context)]);
  const reminders = await started();
  await hear(reminders);
  assert.equal(reminders.isDue(), true);
  assert.deepEqual(reminders.toTell()?.reminder?.changes, [{ label, revoke: null }]);
  reminders.delivered();
  assert.equal(reminders.isDue(), false);

  await store.apply([(state) => acceptOrder(state, envelope, context)]);
  await hear(reminders);
  assert.equal(reminders.isDue(), true, "an order that it does not offer");
  reminders.toTell();
  reminders.delivered();
  const place = { app: "shop", env: "default", rosters: {}, releases: [], gates: {} };
  const shown = (settles: Envelope[]): Partial<Offered> => ({
    apps: [{ ...place, orders: [envelope], settles: settles.map((one) => ({ settle: one, receipts: [] })) }],
  });
  const proof = { settle, receipts: [], roster: { nodes: [] }, order: envelope };
  await store.apply([(state) => acceptSettle(state, proof, context)]);
  await hear(reminders, shown([]));
  assert.equal(reminders.isDue(), true, "one that it does not know as settled");
  await hear(reminders, shown([settle]));
  reminders.toTell();
  reminders.delivered();
  assert.equal(reminders.isDue(), false);
});

test("nothing is kept that no operator signed, and an older hub is told nothing", async (t) => {
  const { hub, cluster, other, self, started, hear } = await world(t);
  const forged = await endOf(other, generateSigner());
  hub.says(forged, { label: null, revoke: self.ticket });
  const reminders = await started();
  await hear(reminders);
  assert.deepEqual(reminders.toTell(true)?.reminder?.changes, []);
  assert.equal(reminders.papers()?.mark, "mark");

  const withOld = await started();
  hub.incarnation = "two";
  hub.says(await endOf(other, cluster.alice));
  await hear(withOld, { members: undefined });
  assert.equal(withOld.isDue(), false);
  assert.deepEqual(withOld.toTell(true), { reminder: undefined, receipts: [] });
});

test("a receipt that the hub does not show is told again, whoever told it of the order", async (t) => {
  const { cluster, self, receipts, started, hear } = await world(t);
  const order = orderBody(1);
  const receipt = await receiptBy(self, order, await sealOrder(order, cluster.alice));
  receipts.push(receipt);
  const reminders = await started();
  await hear(reminders);
  assert.equal(reminders.isDue(), false, "an answer that is coded after another does not say");
  await hear(reminders, { lastReceipts: [receipt] });
  assert.equal(reminders.isDue(), false);
  await hear(reminders, { lastReceipts: [] });
  await hear(reminders);
  assert.equal(reminders.isDue(), true, "one that is coded and comes before the report takes nothing back");
  reminders.toTell();
  // That one did not arrive, and the lack was over before the next.
  await hear(reminders, { lastReceipts: [receipt] });
  assert.equal(reminders.toTell(), null);
  reminders.delivered();
  await hear(reminders, { lastReceipts: [] });
  assert.equal(reminders.isDue(), true, "an ordinary report tells nothing of it");
  reminders.toTell();
  reminders.delivered();
  await hear(reminders);
  assert.equal(reminders.isDue(), false);
  await hear(reminders, { lastReceipts: [receipt] });
  await hear(reminders, { lastReceipts: [] });
  assert.equal(reminders.isDue(), true, "a hub that lost it once more");
});

test("of more receipts than a report has room for, those come first that the hub did not show", async (t) => {
  const { cluster, self, receipts, started, hear } = await world(t);
  for (const seq of [1, 2, 3]) {
    const order = orderBody(seq);
    receipts.push(await receiptBy(self, order, await sealOrder(order, cluster.alice)));
  }
  const [one, two, three] = receipts as [Envelope, Envelope, Envelope];
  const reminders = await started();
  await hear(reminders, { lastReceipts: [one, two] });
  assert.deepEqual(reminders.toTell()?.receipts, [three, one, two]);
});
