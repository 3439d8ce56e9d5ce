import assert from "node:assert/strict";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { atEnd } from "../../lib/at-end.fixture.ts";
import type { Wanted } from "../../api/schemas.ts";
import {
  at,
  orderBody,
  rosterOf,
  sealOrder,
  T0,
  testCluster,
  testNode,
} from "../../trust/cluster.fixture.ts";
import { rosterDigest, type Roster } from "../../trust/documents.ts";
import { generateSigner } from "../../trust/keys.ts";
import { newNodeState } from "../../trust/node-state.ts";
import { takeIn } from "./intake.ts";
import { openKept } from "./kept.ts";
import { createNodeStore } from "./node-store.ts";

test("a source leaves no rosters on the disk but those that orders signed", async (t) => {
  const dir = await fs.mkdtemp(path.join(os.tmpdir(), "sk-"));
  atEnd(t, async () => await fs.rm(dir, { recursive: true, force: true }));
  const cluster = await testCluster();
  const node = await testNode(cluster, "web1");
  const store = await createNodeStore(dir, newNodeState(cluster.envelope, cluster.pin, T0));
  const kept = await openKept(path.join(dir, "documents"));

  const junk = (n: number): Roster => ({
    nodes: [{ node: n.toString(16).padStart(32, "0") as never, name: `junk${n}`, labels: {} }],
  });
  const own = rosterOf(node);
  const rosters: Record<string, Roster> = { [rosterDigest(own)]: own };
  for (let n = 0; n < 50; n++) rosters[rosterDigest(junk(n))] = junk(n);
  const order = await sealOrder(orderBody(1, { roster: rosterDigest(own) }), cluster.alice);
  const forged = await sealOrder(orderBody(2, { roster: rosterDigest(junk(7)) }), generateSigner());
  const wanted: Wanted = {
    etag: "1",
    incarnation: "1",
    catchingUp: false,
    duplicate: false,
    beacon: order,
    charters: [cluster.envelope],
    identity: { ticket: node.ticket, enrol: node.enrol, label: null, revoke: null },
    apps: [
      { app: "shop", env: "prod", orders: [order, forged], rosters, settles: [], releases: [], gates: {} },
    ],
    commands: [],
    lastReceipts: [],
  };
  const context = { now: Date.parse(at(1)), self: node.signer.kid };
  await takeIn(wanted, store, kept, context);
  assert.deepEqual(await fs.readdir(path.join(dir, "documents")), [`${rosterDigest(own)}.json`]);
});
