import assert from "node:assert/strict";
import test from "node:test";
import type { KeyId } from "../../lib/text/ids.ts";
import { rosterDigest } from "../../trust/document/documents.ts";
import { makeOrder, makeRelease, startTestHub } from "../hub.fixture.ts";
import { put } from "../records/core.ts";
import { keys } from "../records/keys.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";

const rosterOf = (name: string) => ({
  nodes: [{ node: name.repeat(32) as KeyId, name, labels: {} }],
});
const [OLD, NEW, ALONE] = [rosterOf("a"), rosterOf("b"), rosterOf("c")];
/** Of the orders that are too old to be kept for their age, those that some node may still stand on. */
const STANDS = [2, 3, 5];

test("100 orders are kept, and of the older ones those that a node may still stand on; no roster goes that another app names", async (t) => {
  const hub = await startTestHub(t);
  const { core, orders } = hub.hub;
  const digests: string[] = [];
  const publish = async (app: string, seq: number, roster: typeof OLD, published: boolean): Promise<void> => {
    const release = await makeRelease(hub.cluster, app, "one");
    const selector = seq === 2 || seq === 3 ? "role=db" : "role=web";
    const { envelope, digest } = await makeOrder(hub.cluster, release.id, roster, { app, seq, selector });
    const record = { digest, epoch: 0, seq, order: envelope };
    const then = [
      put(keys.roster(rosterDigest(roster)), roster),
      put(keys.settle(digest), { settle: envelope, published, receipts: [] }),
      put(keys.receipt(digest, "0".repeat(32)), envelope),
      put(keys.logged(app, "default", record), record),
      put(keys.head(app, "default"), record),
    ];
    await core.store.txn({ compare: [], then });
    digests.push(digest);
  };
  for (let seq = 1; seq <= 110; seq++) {
    const old = seq === 1 ? ALONE : OLD;
    await publish("shop", seq, seq <= 10 && !STANDS.includes(seq) ? old : NEW, seq === 2 || seq === 5);
    if (seq === 1) await publish("blog", 1, OLD, true);
  }
  const kept = (): number[] => orders.log({ app: "shop", env: "default" }).map(({ seq }) => seq);
  const newest = Array.from({ length: 100 }, (_, i) => 110 - i);
  await eventually("the old ones go", () => kept()[0] === 110 && kept().length <= 103);
  assert.deepEqual(kept(), [...newest, 5, 3, 2], "the newest settled for web, the newest two for db");
  const [first = "", , ...others] = digests;
  for (const [at, digest] of [first, ...others.slice(0, 9)].entries()) {
    const { entries } = await core.store.range(keys.receipts(digest));
    assert.equal(entries.length, STANDS.includes(at + 1) ? 1 : 0, `${at + 1}`);
  }
  const rosters = (await core.store.range("/rosters/")).entries.map(({ key }) => key);
  assert.deepEqual(rosters, [OLD, NEW].map((roster) => keys.roster(rosterDigest(roster))).toSorted());
});
