import assert from "node:assert/strict";
import path from "node:path";
import test from "node:test";
import { openSqliteStore } from "../../store/sqlite.ts";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { seal } from "../../trust/document/envelope.ts";
import { generateSigner } from "../../trust/keys/keys.ts";
import {
  HOUR,
  at,
  charterWithOperator,
  joinNode,
  keyClient,
  makeCluster,
  makeEnrol,
  makeTicket,
  operatorClient,
  reportOf,
  startTestHub,
} from "../hub.fixture.ts";

test("a ticket lets in one node, once; the same enrolment again is no error", async (t) => {
  const hub = await startTestHub(t);
  const node = await joinNode(t, hub, "web1");
  assert.equal(await node.client.enrol(node.enrol), node.kid);

  const [join, key] = [generateSigner(), generateSigner()];
  const ticket = await makeTicket(hub.cluster, join);
  assert.equal((await hub.client.postTicket(ticket)).state, "open");
  const client = keyClient(hub.cluster, hub.address, key);
  atEnd(t, () => client.close());
  const viaJoinKey = await client.ticket(join.kid);
  assert.deepEqual(viaJoinKey.ticket, ticket);
  await client.enrol(await makeEnrol(hub.cluster, ticket, join, key, "web2"));
  assert.equal((await client.ticket(join.kid)).state, "used");
  await assert.rejects(client.enrol(await makeEnrol(hub.cluster, ticket, join, key, "web9")), {
    code: "TICKET_USED",
  });

  const thief = generateSigner();
  const other = keyClient(hub.cluster, hub.address, thief);
  atEnd(t, () => other.close());
  await assert.rejects(other.enrol(await makeEnrol(hub.cluster, ticket, join, thief, "web3")), {
    code: "TICKET_USED",
  });
});

test("an enrolment is taken only over a connection with its own key", async (t) => {
  const hub = await startTestHub(t);
  const [join, key] = [generateSigner(), generateSigner()];
  const ticket = await makeTicket(hub.cluster, join);
  await hub.client.postTicket(ticket);
  const relay = keyClient(hub.cluster, hub.address);
  atEnd(t, () => relay.close());
  const enrol = await makeEnrol(hub.cluster, ticket, join, key, "web1");
  await assert.rejects(relay.enrol(enrol), { code: "UNKNOWN_CLIENT" });
});

test("tickets that expired, are forged, or for another cluster let nobody in", async (t) => {
  const hub = await startTestHub(t);
  const join = generateSigner();
  const expired = await makeTicket(hub.cluster, join, { issued: at(-2 * HOUR), expires: at(-HOUR) });
  await assert.rejects(hub.client.postTicket(expired), { code: "TICKET_EXPIRED" });
  const forged = await makeTicket(hub.cluster, join, {}, generateSigner());
  await assert.rejects(hub.client.postTicket(forged), { code: "DOC_UNSIGNED" });
  const foreign = await makeTicket(await makeCluster(), join);
  await assert.rejects(hub.client.postTicket(foreign), { code: "WRONG_CLUSTER" });
  const key = generateSigner();
  const client = keyClient(hub.cluster, hub.address, key);
  atEnd(t, () => client.close());
  const enrol = await makeEnrol(hub.cluster, await makeTicket(hub.cluster, join), join, key, "web1");
  await assert.rejects(client.enrol(enrol), { code: "TICKET_BAD" });
});

test("a name belongs to one node; a replacing ticket ends the old identity", async (t) => {
  const hub = await startTestHub(t);
  const old = await joinNode(t, hub, "web1");
  const join = generateSigner();
  await assert.rejects(hub.client.postTicket(await makeTicket(hub.cluster, join, { name: "web1" })), {
    code: "NAME_TAKEN",
  });
  const ticket = await makeTicket(hub.cluster, join, { name: "web1", replace: old.kid });
  await hub.client.postTicket(ticket);
  const key = generateSigner();
  const client = keyClient(hub.cluster, hub.address, key);
  atEnd(t, () => client.close());
  await client.enrol(await makeEnrol(hub.cluster, ticket, join, key, "web1"));
  await assert.rejects(old.client.report(reportOf()), { code: "REVOKED" });
  await client.report(reportOf());
  const { nodes } = await hub.client.nodes();
  assert.deepEqual(
    nodes.map(({ node, name }) => [node, name]),
    [[key.kid, "web1"]],
  );
});

test("who joins or is renamed takes no other node's name, by whatever ticket", async (t) => {
  const hub = await startTestHub(t);
  const { cluster } = hub;
  const [one, two] = [await joinNode(t, hub, "web1"), await joinNode(t, hub, "web2")];
  await assert.rejects(joinNode(t, hub, "web1"), { code: "NAME_TAKEN" });
  const body = {
    cluster: cluster.id,
    node: two.kid,
    serial: 1,
    name: "web1",
    labels: two.labels,
    issued: at(),
  };
  const label = await seal("label.1", { ...body, labels: { ...body.labels } }, [cluster.operator]);
  await assert.rejects(hub.client.postLabel(label), { code: "NAME_TAKEN" });
  assert.deepEqual((await hub.client.nodeDocuments("web1")).enrol, one.enrol);
});

test("a key is enrolled once, and one that was revoked never again", async (t) => {
  const hub = await startTestHub(t);
  const { cluster } = hub;
  const node = await joinNode(t, hub, "web1");
  const again = async (name: string): Promise<string> => {
    const join = generateSigner();
    const ticket = await makeTicket(cluster, join);
    await hub.client.postTicket(ticket);
    return await node.client.enrol(await makeEnrol(cluster, ticket, join, node.key, name));
  };
  await assert.rejects(again("web2"), { code: "TICKET_BAD" });
  const stranger = { cluster: cluster.id, node: generateSigner().kid, reason: "lost", issued: at() };
  await assert.rejects(hub.client.postRevocation(await seal("revoke.1", stranger, [cluster.operator])), {
    code: "NODE_NOT_FOUND",
  });
  const revoke = await seal("revoke.1", { ...stranger, node: node.kid }, [cluster.operator]);
  await hub.client.postRevocation(revoke);
  await hub.client.postRevocation(revoke);
  await assert.rejects(again("web1"), { code: "REVOKED" });
  const body = { cluster: cluster.id, node: node.kid, serial: 1, name: "web1", labels: {}, issued: at() };
  const label = await seal("label.1", body, [cluster.operator]);
  await assert.rejects(hub.client.postLabel(label), { code: "NODE_NOT_FOUND" });
});

test("labels change by signed documents with growing serials", async (t) => {
  const hub = await startTestHub(t);
  const node = await joinNode(t, hub, "web1");
  const label = async (serial: number, name: string, labels: Record<string, string>) =>
    await seal("label.1", { cluster: hub.cluster.id, node: node.kid, serial, name, labels, issued: at() }, [
      hub.cluster.operator,
    ]);
  const first = await label(1, "db1", { role: "db" });
  await hub.client.postLabel(first);
  await hub.client.postLabel(first);
  const [view] = (await hub.client.nodes()).nodes;
  assert.deepEqual([view?.name, view?.labels, view?.labelSerial], ["db1", { role: "db" }, 1]);
  await assert.rejects(hub.client.postLabel(await label(1, "db1", { role: "web" })), {
    code: "DOC_ROLLBACK",
  });
  // Nobody may use up the serials.
  for (const serial of [Number.MAX_SAFE_INTEGER, 1002])
    await assert.rejects(hub.client.postLabel(await label(serial, "db1", {})), { code: "BAD_REQUEST" });
  await assert.rejects(hub.client.nodeDocuments("web1"), { code: "NODE_NOT_FOUND" });
  assert.deepEqual((await hub.client.nodeDocuments("db1")).label, first);
  const wanted = await node.client.wanted(undefined, 0);
  assert.deepEqual(wanted?.identity.label, first);
});

test("who may enrol test machines neither ends, nor takes the place of, nor renames another", async (t) => {
  const cluster = await makeCluster();
  const hub = await startTestHub(t, { cluster });
  const db = await joinNode(t, hub, "db1", { role: "db" });
  const later = await joinNode(t, hub, "t1", { role: "test" });
  const bob = generateSigner();
  await hub.client.postCharter(await charterWithOperator(cluster, bob, ["enrol:role=test"]));
  const client = await operatorClient(cluster, hub.address, bob);
  atEnd(t, () => client.close());
  const label = async (
    node: string,
    serial: number,
    name: string,
    labels: Record<string, string>,
    by = bob,
  ) =>
    await seal("label.1", { cluster: cluster.id, node: node as never, serial, name, labels, issued: at() }, [
      by,
    ]);

  const join = generateSigner();
  const ticket = await makeTicket(cluster, join, { name: "db1", replace: db.kid }, bob);
  await assert.rejects(client.postTicket(ticket), { code: "DOC_UNSIGNED" });
  await assert.rejects(client.postLabel(await label(db.kid, 1, "old1", { role: "db" })), {
    code: "DOC_UNSIGNED",
  });

  // Its own it may replace, until that one has labels that are not his to end.
  const own = await makeTicket(cluster, join, { name: "t1", replace: later.kid }, bob);
  await client.postTicket(own);
  await hub.client.postLabel(
    await label(later.kid, 1, "t1", { role: "test", env: "prod" }, cluster.operator),
  );
  const key = generateSigner();
  const thief = keyClient(cluster, hub.address, key);
  atEnd(t, () => thief.close());
  const enrol = await makeEnrol(cluster, own, join, key, "t1");
  await assert.rejects(thief.enrol(enrol), { code: "DOC_UNSIGNED" });
  await db.client.report(reportOf());
  await later.client.report(reportOf());
  assert.deepEqual((await hub.client.nodes()).nodes.map(({ name }) => name).sort(), ["db1", "t1"]);
});

test("labels are taken that whoever knows but the birth certificate can judge", async (t) => {
  const cluster = await makeCluster();
  const hub = await startTestHub(t, { cluster });
  const node = await joinNode(t, hub, "web1");
  const bob = generateSigner();
  await hub.client.postCharter(await charterWithOperator(cluster, bob, ["enrol:role=*"]));
  const client = await operatorClient(cluster, hub.address, bob);
  atEnd(t, () => client.close());
  const label = async (serial: number, labels: Record<string, string>, by = cluster.operator) =>
    await seal(
      "label.1",
      { cluster: cluster.id, node: node.kid, serial, name: "web1", labels, issued: at() },
      [by],
    );
  await client.postLabel(await label(1, { role: "api" }, bob));
  await hub.client.postLabel(await label(2, { role: "api", canary: "true" }));
  // To who missed the second one it would look as if bob had given `canary`.
  await assert.rejects(client.postLabel(await label(3, { role: "web", canary: "true" }, bob)), {
    code: "DOC_UNSIGNED",
  });
  await hub.client.postLabel(await label(3, { role: "web", canary: "true" }));
});

test("an operator without the right to enrol invites nobody", async (t) => {
  const hub = await startTestHub(t, { cluster: await makeCluster(["deploy:*/*"]) });
  await assert.rejects(
    hub.client.postTicket(await makeTicket(hub.cluster, generateSigner(), { labels: { a: "b" } })),
    {
      code: "DOC_UNSIGNED",
    },
  );
});

test("an empty hub takes its first charter, then only what follows it", async (t) => {
  const cluster = await makeCluster();
  const hub = await startTestHub(t, { cluster, charters: [] });
  assert.equal((await hub.client.hub()).charterVersion, 0);
  await hub.client.postCharter(cluster.charter);
  assert.equal((await hub.client.hub()).charterVersion, 1);
  await hub.client.postCharter(cluster.charter);
  const other = await makeCluster();
  await assert.rejects(hub.client.postCharter(other.charter), { code: "WRONG_CLUSTER" });
  const stranger = keyClient(cluster, hub.address);
  atEnd(t, () => stranger.close());
  await assert.rejects(stranger.postCharter(other.charter), { code: "UNKNOWN_CLIENT" });
});

test("a hub that was told its charter's fingerprint takes no other", async (t) => {
  const cluster = await makeCluster();
  const hub = await startTestHub(t, { cluster, charters: [], pin: cluster.pin });
  const impostor = await makeCluster();
  const client = await operatorClient({ ...impostor, hubKey: cluster.hubKey }, hub.address);
  atEnd(t, () => client.close());
  await assert.rejects(client.postCharter(impostor.charter), { code: "CHARTER_PIN" });
  await hub.client.postCharter(cluster.charter);
  await hub.closeHubOnly();
  const store = await openSqliteStore(path.join(hub.home, "lib/hub.db"));
  atEnd(t, async () => await store[Symbol.asyncDispose]());
  await assert.rejects(startTestHub(t, { cluster, home: hub.home, store, charters: [impostor.charter] }), {
    code: "CHARTER_PIN",
  });
});

test("an operator who left the charter is out with the next version", async (t) => {
  const cluster = await makeCluster();
  const hub = await startTestHub(t, { cluster });
  const { version, keys, ...rest } = JSON.parse(Buffer.from(cluster.charter.p, "base64url").toString()) as {
    version: number;
    keys: Record<string, { alg: "raw"; pub: string }>;
    [key: string]: unknown;
  };
  const heir = generateSigner();
  const body = {
    ...rest,
    version: version + 1,
    issued: at(),
    keys: { ...keys, [heir.kid]: { alg: "raw" as const, pub: heir.pub } },
    operators: { [heir.kid]: { name: "bob", allow: ["admin"] } },
  };
  await hub.client.nodes();
  // The fields' order is the schema's business, not this test's.
  await hub.client.postCharter(await seal("charter.1", body as never, [cluster.operator]));
  await assert.rejects(hub.client.nodes(), { code: "UNKNOWN_CLIENT" });
  const bob = await operatorClient(cluster, hub.address, heir);
  atEnd(t, () => bob.close());
  await bob.nodes();
  assert.equal((await bob.charters(1)).length, 1);
});
