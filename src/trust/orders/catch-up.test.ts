import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import type { Digest } from "../../lib/text/ids.ts";
import { catchUp, type ReportedOrder } from "./catch-up.ts";
import {
  at,
  orderBody,
  receiptBy,
  release,
  rosterOf,
  sealOrder,
  settleBody,
  T0,
  testCluster,
  testNode,
} from "../cluster.fixture.ts";
import { rosterDigest, type Order } from "../document/documents.ts";
import { digestOfEnvelope, seal } from "../document/envelope.ts";
import { generateSigner } from "../keys/keys.ts";

const cluster = await testCluster();
const { alice, charter } = cluster;
const web1 = await testNode(cluster, "web1");
const roster = rosterOf(web1);

async function report(seq: number, change: Partial<Order> = {}, settled = false): Promise<ReportedOrder> {
  const body = orderBody(seq, { roster: rosterDigest(roster), ...change });
  const order = await sealOrder(body, alice);
  if (!settled) return { order, roster, settle: null, receipts: [] };
  const settle = await seal("settle.1", settleBody(body, order, { needs: 1 }), [alice]);
  return { order, roster, settle, receipts: [await receiptBy(web1, body, order)] };
}

const standing = await report(5, {}, true);
const older = await report(4, {}, true);
const head = await report(6);
const elsewhere = await report(2, { app: "api" });

test("a restored hub adopts the newest order and the newest settled one of each app", () => {
  const { apps, conflicts, refused } = catchUp(charter, [older, standing, head, elsewhere], T0);
  const shop = apps.get("shop/default");
  assert.equal(shop?.head.seq, 6);
  assert.equal(shop.standing?.seq, 5);
  assert.equal(shop.standing.settled?.receipts.length, 1);
  assert.equal(apps.get("api/default")?.head.seq, 2);
  assert.equal(apps.get("api/default")?.standing, null);
  assert.deepEqual([conflicts, refused], [[], []]);
});

test("what agents report may come in any order and many times", () => {
  const reports = [
    older,
    standing,
    head,
    elsewhere,
    { ...standing, settle: null, receipts: [], roster: null },
  ];
  const whole = catchUp(charter, reports, T0).apps;
  const shuffled = fc.shuffledSubarray([...reports, ...reports], { minLength: 10 });
  fc.assert(
    fc.property(shuffled, (list) => {
      const { apps } = catchUp(charter, list, T0);
      assert.deepEqual(apps, whole);
    }),
    { numRuns: 30 },
  );
});

test("an agent cannot invent an order, nor a settle without its receipts", async () => {
  const forged = { ...head, order: await sealOrder(orderBody(9), generateSigner()) };
  const junk = { ...head, order: "junk" };
  const unproven = { ...standing, receipts: [] };
  const { apps, refused } = catchUp(charter, [forged, junk, unproven], T0);
  assert.equal(apps.get("shop/default")?.head.seq, 5, "the order itself is genuine");
  assert.equal(apps.get("shop/default")?.standing, null);
  assert.deepEqual(
    refused.map(({ index, error }) => [index, error.code]),
    [
      [0, "DOC_UNSIGNED"],
      [1, "DOC_MALFORMED"],
      [2, "SETTLE_UNPROVEN"],
    ],
  );
});

test("a roster that the order did not sign is dropped", async () => {
  const { apps } = catchUp(charter, [{ ...head, roster: { nodes: [] } }, elsewhere], T0);
  assert.equal(apps.get("shop/default")?.head.roster, null);
  assert.deepEqual(apps.get("api/default")?.head.roster, roster);
});

test("two orders with one serial are told; what the hub itself has is kept", async () => {
  const twin = await report(6, { release: release(99) });
  const { apps, conflicts } = catchUp(charter, [head, twin], T0);
  assert.equal(apps.get("shop/default")?.head.digest, digestOfEnvelope(head.order as never));
  assert.equal(conflicts.length, 1);
});

test("serials of a later epoch are newer, and one that the charter does not know is refused", async () => {
  const recovered = { ...charter, epoch: 1 };
  const low = await report(1, { epoch: 1, prev: "0".repeat(64) as Digest, issued: at(1) });
  assert.equal(catchUp(recovered, [head, low], T0).apps.get("shop/default")?.head.epoch, 1);
  const { apps, refused } = catchUp(charter, [low], T0);
  assert.equal(apps.size, 0);
  assert.equal(refused[0]?.error.code, "CHARTER_ROLLBACK");
});
