import assert from "node:assert/strict";
import test from "node:test";
import { CHANGES_KEPT } from "../api/member-schemas.ts";
import type { KeyId, ReleaseId } from "../lib/text/ids.ts";
import { releaseIdOf, type Release } from "../trust/document/documents.ts";
import { digestOfEnvelope, readUnverified, seal, type Envelope } from "../trust/document/envelope.ts";
import { generateSigner } from "../trust/keys/keys.ts";
import { timeOf } from "../trust/document/fields.ts";
import {
  at,
  HOUR,
  joinNode,
  makeOrder,
  makeRelease,
  makeTicket,
  rosterOf,
  startTestHub,
  type TestHub,
} from "./hub.fixture.ts";
import { forgetOld } from "./old-records.ts";
import { put, write } from "./records/core.ts";
import { keys } from "./records/keys.ts";

const DAY = 24 * HOUR;

const has = (hub: TestHub, prefix: string): number => hub.hub.core.mirror.list(prefix).length;

test("a ticket is forgotten a month after it has expired, used or not", async (t) => {
  const hub = await startTestHub(t);
  const { core } = hub.hub;
  const node = await joinNode(t, hub, "n1");
  for (const [days, used] of [
    [31, null],
    [31, node.kid],
    [29, null],
  ] as const) {
    const join = generateSigner();
    const times = { issued: at(-40 * DAY), expires: at(-days * DAY) };
    const ticket = await makeTicket(hub.cluster, join, times);
    const digest = digestOfEnvelope(ticket);
    await write(core, [put(keys.ticket(digest), { ticket, node: used }), put(keys.join(join.kid), digest)]);
  }
  assert.deepEqual([has(hub, "/tickets/"), has(hub, "/joins/")], [4, 4]);
  await forgetOld(hub.hub);
  assert.deepEqual([has(hub, "/tickets/"), has(hub, "/joins/")], [2, 2]);
  assert.equal(hub.hub.nodes.membership(node.kid), "member");
});

/** The end of a node so long ago. */
async function endOf(hub: TestHub, node: KeyId, days: number): Promise<Envelope> {
  const body = { cluster: hub.cluster.id, node, reason: "removed", issued: timeOf(Date.now() - days * DAY) };
  return await seal("revoke.1", body, [hub.cluster.operator]);
}

async function end(hub: TestHub, node: KeyId, days: number): Promise<void> {
  await write(hub.hub.core, [put(keys.node(node, "revoke"), await endOf(hub, node, days))]);
}

test("of a node that was removed long ago its end stays alone, once nodes are told of others", async (t) => {
  const hub = await startTestHub(t);
  const { core, nodes } = hub.hub;
  const [old, young, there] = [
    await joinNode(t, hub, "old"),
    await joinNode(t, hub, "young"),
    await joinNode(t, hub, "there"),
  ];
  await end(hub, old.kid, 31);
  await forgetOld(hub.hub);
  const partsOf = (node: KeyId): number => has(hub, `/nodes/${node}/`);
  assert.ok(partsOf(old.kid) > 2, "nodes are told of it");
  const others = Array.from({ length: CHANGES_KEPT }, (_, n) => n.toString(16).padStart(32, "0") as KeyId);
  const ends = others.map(async (node) =>
    put(keys.change(node), { label: null, revoke: await endOf(hub, node, 1) }),
  );
  await write(core, await Promise.all(ends));
  await end(hub, young.kid, 29);
  await forgetOld(hub.hub);
  assert.equal(partsOf(old.kid), 1);
  assert.ok(partsOf(young.kid) > 2);
  assert.ok(partsOf(there.kid) > 1);
  assert.deepEqual([nodes.membership(old.kid), nodes.membership(there.kid)], ["revoked", "member"]);
  await assert.rejects(old.client.wanted(undefined, 0), { code: "REVOKED" });
  await assert.rejects(old.client.enrol(old.enrol), (err: { code?: string }) => err.code !== undefined);
  assert.equal(partsOf(old.kid), 1);
});

test("of an app's releases the newest 200 stay known, and what its orders name", async (t) => {
  const hub = await startTestHub(t);
  const { core, releases } = hub.hub;
  const node = await joinNode(t, hub, "n1");
  const body = readUnverified((await makeRelease(hub.cluster, "shop", "0")).envelope, "release.1");
  const made: ReleaseId[] = [];
  for (let n = 0; n < 230; n++) {
    const commit = n.toString(16).padStart(40, "0");
    const release: Release = { ...body, commit, created: at(-HOUR + n * 1000) };
    const envelope = await seal("release.1", release, [hub.cluster.operator]);
    const id = releaseIdOf(release);
    made.push(id);
    await write(core, [put(keys.release("shop", id), envelope)]);
  }
  await hub.client.postRelease((await makeRelease(hub.cluster, "blog", "1")).envelope);
  const named = made[3]!;
  const order = await makeOrder(hub.cluster, named, rosterOf([node]));
  await hub.client.postOrder(order.envelope, rosterOf([node]), null);
  await forgetOld(hub.hub);
  const left = releases.list("shop", Infinity).map(({ id }) => id);
  assert.deepEqual(left, [...made.slice(30).toReversed(), named]);
  assert.equal(releases.list("blog", Infinity).length, 1);
});
