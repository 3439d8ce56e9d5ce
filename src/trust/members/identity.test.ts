import assert from "node:assert/strict";
import { test } from "node:test";
import type { Digest, KeyId } from "../../lib/text/ids.ts";
import {
  at,
  CLUSTER,
  keyRecords,
  labelFor,
  MINUTE,
  T0,
  testCluster,
  testNode,
  ticketFor,
} from "../cluster.fixture.ts";
import type { Charter, Enrol } from "../document/documents.ts";
import { digestOfEnvelope, readUnverified, seal, type Envelope } from "../document/envelope.ts";
import {
  openBirth,
  openLabel,
  openReplacement,
  openRevoke,
  openTicket,
  openUnplaced,
  relabelled,
  ticketDigest,
} from "./identity.ts";
import { generateSigner, type LocalSigner } from "../keys/keys.ts";

const cluster = await testCluster();
const { alice, bob, charter, pin } = cluster;
const web1 = await testNode(cluster, "web1");

const enrolWith = async (
  ticket: Envelope,
  join: LocalSigner,
  node: LocalSigner,
  change: Partial<Enrol> = {},
): Promise<Envelope> =>
  seal(
    "enrol.1",
    {
      cluster: CLUSTER,
      ticket: digestOfEnvelope(ticket),
      key: node.pub,
      sealing: generateSigner().pub,
      name: "web2",
      issued: at(0),
      ...change,
    },
    [join, node],
  );

/** A charter in which bob may enrol web servers of any zone only. */
const limited: Charter = {
  ...charter,
  operators: { ...charter.operators, [bob.kid]: { name: "bob", allow: ["enrol:role=web,zone=*"] } },
};

test("a birth certificate gives a node its name and the labels that the operator fixed", () => {
  const birth = openBirth(charter, web1, { pin });
  assert.deepEqual(birth.identity, web1.identity);
  assert.equal(birth.ticketDigest, ticketDigest(web1.ticket));
  assert.equal(birth.identity.node, web1.signer.kid);
});

test("a ticket is for this cluster, this charter, its time and the labels its operator may give", async () => {
  const open = (envelope: Envelope, now = T0, under = charter): unknown =>
    openTicket(under, envelope, { pin, now });
  open(await ticketFor(cluster, {}));
  const cases: [Envelope, string, string][] = [
    [await ticketFor(cluster, { cluster: "d".repeat(32) }), "WRONG_CLUSTER", "another cluster"],
    [await ticketFor(cluster, { charter: "0".repeat(64) as Digest }), "TICKET_BAD", "another charter"],
    [await ticketFor(cluster, { issued: at(-120), expires: at(0) }), "TICKET_EXPIRED", "expired"],
    [await ticketFor(cluster, { issued: at(11), expires: at(71) }), "DOC_FROM_FUTURE", "future"],
  ];
  for (const [envelope, code, why] of cases) assert.throws(() => open(envelope), { code }, why);
  const spent = await ticketFor(cluster, { issued: at(-120), expires: at(0) });
  const message = `the ticket expired at ${at(0)}, and its reader's clock says ${at(5)}`;
  assert.throws(() => open(spent, T0 + 5 * MINUTE), { message, hint: /set the clock/ });
  const byStranger = await seal("ticket.1", readUnverified(web1.ticket, "ticket.1"), [generateSigner()]);
  assert.throws(() => open(byStranger), { code: "DOC_UNSIGNED" });
  const web = readUnverified(await ticketFor(cluster, { labels: { role: "web", zone: "b" } }), "ticket.1");
  open(await seal("ticket.1", web, [bob]), T0, limited);
  const db = { ...web, labels: { role: "db" } };
  const byBob = await seal("ticket.1", db, [bob]);
  const hint = /^Have one who may make another: skein node invite\./;
  assert.throws(() => open(byBob, T0, limited), { code: "DOC_UNSIGNED", hint });
  const { [bob.kid]: _dropped, ...others } = charter.operators;
  assert.throws(() => open(byBob, T0, { ...charter, operators: others }), { code: "DOC_UNSIGNED", hint });
});

test("an enrolment needs the ticket's key and the node's own", async () => {
  const [join, node] = [generateSigner(), generateSigner()];
  const ticket = await ticketFor(cluster, { key: join.pub, name: "web2" });
  const open = (enrol: Envelope): unknown => openBirth(charter, { ticket, enrol }, { pin, now: T0 });
  open(await enrolWith(ticket, join, node));
  const cases: [Envelope, string, string][] = [
    [await enrolWith(ticket, generateSigner(), node), "DOC_UNSIGNED", "without the ticket's secret"],
    [
      await enrolWith(ticket, join, generateSigner(), { key: node.pub }),
      "DOC_UNSIGNED",
      "in another node's name",
    ],
    [await enrolWith(ticket, join, join), "TICKET_BAD", "with the ticket's key as the node's"],
    [await enrolWith(web1.ticket, join, node), "TICKET_BAD", "with another ticket"],
    [await enrolWith(ticket, join, node, { name: "db" }), "TICKET_BAD", "under another name"],
    [await enrolWith(ticket, join, node, { issued: at(30) }), "TICKET_BAD", "after the ticket's end"],
    [await enrolWith(ticket, join, node, { cluster: "d".repeat(32) }), "WRONG_CLUSTER", "elsewhere"],
  ];
  for (const [enrol, code, why] of cases) assert.throws(() => open(enrol), { code }, why);
});

test("a birth certificate outlives its ticket, and a re-signed ticket is the same ticket", async () => {
  const years = T0 + 3 * 365 * 24 * 60 * MINUTE;
  assert.throws(() => openBirth(charter, web1, { pin, now: years }), { code: "TICKET_EXPIRED" });
  openBirth(charter, web1, { pin });
  const carol = generateSigner();
  const withoutAlice: Charter = {
    ...charter,
    version: 2,
    keys: { ...charter.keys, ...keyRecords(carol) },
    operators: { [carol.kid]: { name: "carol", allow: ["enrol:*"] } },
  };
  assert.throws(() => openBirth(withoutAlice, web1, { pin }), { code: "DOC_UNSIGNED" });
  const again = await seal("ticket.1", readUnverified(web1.ticket, "ticket.1"), [carol]);
  assert.equal(openBirth(withoutAlice, { ticket: again, enrol: web1.enrol }, { pin }).identity.name, "web1");
});

test("a label document needs the right to all that it gives and takes, and a higher serial", async () => {
  const self = web1.identity;
  const good = await labelFor(alice, self.node, { name: "web9", labels: { role: "db" } });
  const after = relabelled(self, openLabel(charter, good, self, T0));
  assert.deepEqual(after, { node: self.node, name: "web9", labels: { role: "db" }, serial: 1 });
  assert.throws(() => openLabel(charter, good, after, T0), { code: "DOC_ROLLBACK" });

  openLabel(limited, await labelFor(bob, self.node, { labels: { role: "web", zone: "b" } }), self, T0);
  const mixed = { ...self, labels: { role: "db", zone: "a" } };
  openLabel(limited, await labelFor(bob, self.node, { labels: { role: "db", zone: "b" } }), mixed, T0);
  const gives = await labelFor(bob, self.node, { labels: { role: "web", tier: "gold" } });
  assert.throws(() => openLabel(limited, gives, self, T0), { code: "DOC_UNSIGNED" });
  const takes = await labelFor(bob, self.node, { serial: 2, labels: { role: "web" } });
  assert.throws(() => openLabel(limited, takes, after, T0), { code: "DOC_UNSIGNED" }, "it takes role=db");
  const other = await labelFor(alice, "f".repeat(32) as KeyId, {});
  assert.throws(() => openLabel(charter, other, self, T0), { code: "ORDER_NOT_FOR_NODE" });
  const early = await labelFor(alice, self.node, { issued: at(11) });
  assert.throws(() => openLabel(charter, early, self, T0), { code: "DOC_FROM_FUTURE" });
  const foreign = await labelFor(alice, self.node, { cluster: "d".repeat(32) });
  assert.throws(() => openLabel(charter, foreign, self, T0), { code: "WRONG_CLUSTER" });
});

test("another name takes the right to all of a node's labels: orders name nodes by it", async () => {
  const self = web1.identity;
  const db = { ...self, labels: { role: "db" } };
  const byBob = await labelFor(bob, self.node, { name: "web9", labels: { role: "db" } });
  assert.throws(() => openLabel(limited, byBob, db, T0), { code: "DOC_UNSIGNED" });
  openLabel(charter, byBob, db, T0);
  openLabel(limited, await labelFor(bob, self.node, { name: "web9", labels: { role: "web" } }), self, T0);
});

test("a ticket that takes a node's place is by who may end that one", async () => {
  const self = web1.identity;
  const ticket = readUnverified(await ticketFor(cluster, { replace: self.node }), "ticket.1");
  const byBob = await seal("ticket.1", ticket, [bob]);
  openTicket(limited, byBob, { pin, now: T0 });
  openReplacement(limited, byBob, self);
  const db = { ...self, labels: { role: "db" } };
  assert.throws(() => openReplacement(limited, byBob, db), { code: "DOC_UNSIGNED" });
  openReplacement(limited, await seal("ticket.1", ticket, [alice]), db);
});

test("a node is revoked by an admin or by who may give all of its labels", async () => {
  const self = web1.identity;
  const body = { cluster: CLUSTER, node: self.node, reason: "stolen", issued: at(0) };
  openRevoke(charter, await seal("revoke.1", body, [alice]), self, T0);
  const byBob = await seal("revoke.1", body, [bob]);
  openRevoke(limited, byBob, self, T0);
  const db = { ...self, labels: { role: "db" } };
  assert.throws(() => openRevoke(limited, byBob, db, T0), { code: "DOC_UNSIGNED" });
  const byItself = await seal("revoke.1", body, [web1.signer]);
  assert.throws(() => openRevoke(charter, byItself, self, T0), { code: "DOC_UNSIGNED" });
  const cases: [Partial<typeof body>, string][] = [
    [{ cluster: "d".repeat(32) }, "WRONG_CLUSTER"],
    [{ node: bob.kid }, "ORDER_NOT_FOR_NODE"],
    [{ issued: at(11) }, "DOC_FROM_FUTURE"],
  ];
  for (const [change, code] of cases) {
    const bad = await seal("revoke.1", { ...body, ...change }, [alice]);
    assert.throws(() => openRevoke(charter, bad, self, T0), { code });
  }
});

test("of a node that nobody knows here a word counts only if somebody who has to do with nodes said it", async () => {
  const node = "f".repeat(32) as KeyId;
  const body = { cluster: CLUSTER, node, reason: "stolen", issued: at(0) };
  const opened = (source: Envelope, by: Charter = charter): string =>
    openUnplaced(by, source, "revoke.1", T0).reason;
  assert.equal(opened(await seal("revoke.1", body, [alice])), "stolen");
  assert.equal(opened(await seal("revoke.1", body, [bob]), limited), "stolen");
  const deployer: Charter = {
    ...charter,
    operators: { ...charter.operators, [bob.kid]: { name: "bob", allow: ["deploy:*/*", "root:*/*"] } },
  };
  const byBob = await seal("revoke.1", body, [bob]);
  assert.throws(() => opened(byBob, deployer), { code: "DOC_UNSIGNED" });
  const foreign = await seal("revoke.1", { ...body, cluster: "d".repeat(32) }, [alice]);
  assert.throws(() => opened(foreign), { code: "WRONG_CLUSTER" });
  const early = await seal("revoke.1", { ...body, issued: at(11) }, [alice]);
  assert.throws(() => opened(early), { code: "DOC_FROM_FUTURE" });
  const label = await labelFor(alice, node, { labels: { role: "db" } });
  assert.deepEqual(openUnplaced(charter, label, "label.1", T0).labels, { role: "db" });
});
