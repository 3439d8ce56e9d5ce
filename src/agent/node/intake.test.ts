import assert from "node:assert/strict";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import type { WantedApp } from "../../api/schemas.ts";
import {
  at,
  orderBody,
  receiptBy,
  rosterOf,
  sealOrder,
  settleBody,
  T0,
  testCluster,
  testNode,
} from "../../trust/cluster.fixture.ts";
import { rosterDigest, type Roster } from "../../trust/document/documents.ts";
import { seal, type Envelope } from "../../trust/document/envelope.ts";
import { generateSigner } from "../../trust/keys/keys.ts";
import { appStateOf, newNodeState } from "../../trust/node/node-state.ts";
import { takeIn } from "./intake.ts";
import { openKept } from "./kept-documents.ts";
import { createNodeStore } from "./node-store.ts";

/** A node's state on the disk, and a source that tells it of orders. */
async function intake(t: TestContext) {
  const dir = await fs.mkdtemp(path.join(os.tmpdir(), "sk-"));
  atEnd(t, async () => await fs.rm(dir, { recursive: true, force: true }));
  const cluster = await testCluster();
  const node = await testNode(cluster, "web1");
  const store = await createNodeStore(dir, newNodeState(cluster.envelope, cluster.pin, T0));
  const kept = await openKept(path.join(dir, "documents"));
  const context = { now: Date.parse(at(1)), self: node.signer.kid };
  const identity = { ticket: node.ticket, enrol: node.enrol, label: null, revoke: null };
  const offer = async (app: Partial<WantedApp>) => {
    const nothing = { orders: [], rosters: {}, settles: [], releases: [], gates: {} };
    const apps = [{ app: "shop", env: "default", ...nothing, ...app }];
    return await takeIn({ charters: [cluster.envelope], identity, apps }, store, kept, context);
  };
  return { dir, cluster, node, store, offer };
}

test("a source leaves no rosters on the disk but those that orders signed", async (t) => {
  const { dir, cluster, node, offer } = await intake(t);
  const junk = (n: number): Roster => ({
    nodes: [{ node: n.toString(16).padStart(32, "0") as never, name: `junk${n}`, labels: {} }],
  });
  const own = rosterOf(node);
  const rosters: Record<string, Roster> = { [rosterDigest(own)]: own };
  for (let n = 0; n < 50; n++) rosters[rosterDigest(junk(n))] = junk(n);
  const order = await sealOrder(orderBody(1, { roster: rosterDigest(own) }), cluster.alice);
  const forged = await sealOrder(orderBody(2, { roster: rosterDigest(junk(7)) }), generateSigner());
  await offer({ orders: [order, forged], rosters });
  assert.deepEqual(await fs.readdir(path.join(dir, "documents")), [`${rosterDigest(own)}.json`]);
});

test("a settle that is none is refused by itself, whatever becomes of its order", async (t) => {
  const { cluster, node, store, offer } = await intake(t);
  const { alice } = cluster;
  const roster = rosterOf(node);
  const rosters = { [rosterDigest(roster)]: roster };
  const order = orderBody(1, { roster: rosterDigest(roster) });
  const envelope = await sealOrder(order, alice);
  const settle = await seal("settle.1", settleBody(order, envelope, { needs: 1 }), [alice]);
  const receipt = await receiptBy(node, order, envelope);
  const bad: [string, Envelope, Envelope[]][] = [
    ["DOC_UNSIGNED", bent(settle, '"needs":1', '"needs":0'), []],
    ["SETTLE_UNPROVEN", settle, []],
    ["SETTLE_UNPROVEN", settle, [bent(receipt, '"cut":0', '"cut":1')]],
  ];
  const settled = (settle: Envelope, receipts: Envelope[], order = envelope) =>
    offer({ orders: [order], rosters, settles: [{ settle, receipts }] });
  // First with an order that is new to the node, then with one that it knows and may be running.
  for (const [code, settle, receipts] of [...bad, ...bad]) {
    const refusals = await settled(settle, receipts);
    assert.deepEqual(
      refusals.map((one) => [one.type, one.code, one.order]),
      [["settle", code, null]],
    );
    const { head, standing } = appStateOf(store.state, "shop", "default");
    assert.deepEqual([head?.order, head?.settle, standing], [envelope, null, null]);
  }
  assert.deepEqual(await settled(settle, [receipt]), []);
  assert.ok(appStateOf(store.state, "shop", "default").standing);

  const late = orderBody(3, { roster: rosterDigest(roster), applyBefore: at(0), issued: at(-1) });
  const expired = await sealOrder(late, alice);
  const unproven = await seal("settle.1", settleBody(late, expired, { needs: 1 }), [alice]);
  const both = (await settled(unproven, [], expired)).map(({ type, code }) => `${type} ${code}`);
  assert.deepEqual(both, ["order ORDER_EXPIRED", "settle SETTLE_UNPROVEN"]);

  const elsewhere = orderBody(5, { selector: "role=db" });
  const foreign = await sealOrder(elsewhere, alice);
  const proven = await seal("settle.1", settleBody(elsewhere, foreign), [alice]);
  const once = (await settled(proven, [], foreign)).map(({ type, code }) => `${type} ${code}`);
  assert.deepEqual(once, ["order ORDER_NOT_FOR_NODE"], "what is wrong with an order is said once");
});

/** As somebody between would change it: the signature stays. */
function bent(envelope: Envelope, from: string, to: string): Envelope {
  const text = Buffer.from(envelope.p, "base64url").toString();
  assert.ok(text.includes(from));
  return { ...envelope, p: Buffer.from(text.replace(from, to)).toString("base64url") };
}
