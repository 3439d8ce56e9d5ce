/** A hub whose store was set back, by nodes that say what they remember. */
import assert from "node:assert/strict";
import fs from "node:fs/promises";
import path from "node:path";
import test, { type TestContext } from "node:test";
import type { HubClient } from "../../api/hub-client.ts";
import type { Reminder, ReturnPost } from "../../api/member-schemas.ts";
import type { NodeView } from "../../api/schemas.ts";
import type { Clock } from "../../lib/time/clock.ts";
import { fakeClock } from "../../lib/time/fake-clock.fixture.ts";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { openSqliteStore, restoreSqliteStore } from "../../store/sqlite.ts";
import type { Change } from "../../trust/members/changes.ts";
import { seal, type Envelope } from "../../trust/document/envelope.ts";
import { generateSigner, type LocalSigner } from "../../trust/keys/keys.ts";
import {
  HOUR,
  at,
  charterWithOperator,
  joinNode,
  keyClient,
  makeCluster,
  makeEnrol,
  makeTicket,
  reportOf,
  startTestHub,
  tempHome,
  type Cluster,
  type TestHub,
  type TestNode,
} from "../hub.fixture.ts";

interface World {
  readonly cluster: Cluster;
  readonly hub: TestHub;
  readonly backup: () => Promise<void>;
  /** Ends the hub, puts the backup in the place of its store, and starts it at the same address. */
  readonly restore: (options?: { readonly clock: Clock }) => Promise<TestHub>;
}

async function world(t: TestContext): Promise<World> {
  const home = await tempHome(t);
  const cluster = await makeCluster();
  const file = path.join(home, "lib", "hub.db");
  const copy = path.join(home, "backup.db");
  await fs.mkdir(path.dirname(file), { recursive: true });
  const opened = async (): ReturnType<typeof openSqliteStore> => await openSqliteStore(file);
  let store = await opened();
  let hub = await startTestHub(t, { cluster, home, store });
  const first = hub;
  return {
    cluster,
    hub: first,
    backup: async () => await store.backup(copy),
    restore: async (options) => {
      const { port } = hub;
      await hub.close();
      await restoreSqliteStore(copy, file);
      store = await opened();
      const listen = { host: "127.0.0.1", port };
      return (hub = await startTestHub(t, { cluster, home, store, listen, ...options }));
    },
  };
}

const NOTHING: Reminder = { charters: [], changes: [] };

/** What a node remembers, as its agent asks for it. */
async function memoryOf(node: TestNode): Promise<{ mark: string; reminder: Reminder }> {
  const { mark, changes } = await node.client.call("membership", { query: { after: 0 } });
  return { mark, reminder: { charters: [], changes } };
}

/** Says all that it remembers, as an agent does when it is asked for that. */
async function remind(node: TestNode, reminder: Reminder = NOTHING): Promise<void> {
  await node.client.report(reportOf({ heads: [], reminder }));
}

async function papersOf(node: TestNode): Promise<ReturnPost> {
  return { ticket: node.ticket, enrol: node.enrol, ...(await memoryOf(node)) };
}

const comeBack = async (client: HubClient, body: ReturnPost): Promise<unknown> =>
  await client.call("comeBack", { body });

async function revoked(cluster: Cluster, node: TestNode, by = cluster.operator): Promise<Envelope> {
  return await seal("revoke.1", { cluster: cluster.id, node: node.kid, reason: "lost", issued: at() }, [by]);
}

async function labelled(
  cluster: Cluster,
  node: TestNode,
  serial: number,
  labels: Record<string, string>,
  { by = cluster.operator, name = node.name }: { readonly by?: LocalSigner; readonly name?: string } = {},
): Promise<Envelope> {
  const body = { cluster: cluster.id, node: node.kid, serial, name, labels, issued: at() };
  return await seal("label.1", body, [by]);
}

const nodesOf = async (client: HubClient): Promise<NodeView[]> => (await client.nodes()).nodes;
const namesOf = async (hub: TestHub): Promise<string[]> =>
  (await nodesOf(hub.client)).map(({ name }) => name).toSorted();

test("a restored hub waits for agents that do not know yet that its old machine is gone", async (t) => {
  const { hub, backup, restore } = await world(t);
  await joinNode(t, hub, "web1");
  await backup();
  const clock = fakeClock(Date.now());
  const { client } = await restore({ clock });
  clock.advance(45_000);
  assert.equal((await client.hub()).catchingUp, true, "40 s for an answer, 5 to connect anew");
  clock.advance(10_000);
  while ((await client.hub()).catchingUp) await new Promise((resolve) => setImmediate(resolve));
});

test("a node that was removed since the backup is removed again by the word of any other", async (t) => {
  const { cluster, hub, backup, restore } = await world(t);
  const [kept, removed] = [await joinNode(t, hub, "web1"), await joinNode(t, hub, "web2")];
  await backup();
  const papers = await papersOf(removed);
  await hub.client.postRevocation(await revoked(cluster, removed));
  const { reminder } = await memoryOf(kept);
  const after = await restore();
  assert.deepEqual(await namesOf(after), ["web1", "web2"]);
  await remind(kept, reminder);
  assert.equal((await after.client.hub()).catchingUp, false, "whoever is removed is not waited for");
  assert.deepEqual(await namesOf(after), ["web1"]);
  await assert.rejects(removed.client.wanted(undefined, 0), { code: "REVOKED" });
  // Nor by what it was let in with.
  await assert.rejects(comeBack(removed.client, papers), { code: "REVOKED" });
});

test("a node that joined since the backup is taken up again, once those that are known were heard", async (t) => {
  const { cluster, hub, backup, restore } = await world(t);
  const old = await joinNode(t, hub, "web1");
  await backup();
  const late = await joinNode(t, hub, "web2");
  const papers = await papersOf(late);
  // Its ticket has expired since.
  const after = await restore({ clock: fakeClock(Date.now() + 2 * HOUR) });
  await assert.rejects(late.client.wanted(undefined, 0), { code: "UNKNOWN_CLIENT" });
  await assert.rejects(comeBack(late.client, papers), { code: "HUB_CATCHING_UP" });
  await remind(old);
  await comeBack(late.client, papers);
  assert.equal((await nodesOf(late.client)).length, 2);
  await comeBack(late.client, papers);
  assert.ok((await late.client.wanted(undefined, 0)) !== undefined);

  // Its ticket is used, as before.
  const thief = generateSigner();
  const client = keyClient(cluster, after.address, thief);
  atEnd(t, () => client.close());
  const enrol = await makeEnrol(cluster, late.ticket, late.join, thief, "web3");
  await assert.rejects(client.enrol(enrol), { code: "TICKET_USED" });
});

test("whoever has the line of a ticket that was used does not come in by a restore", async (t) => {
  const { cluster, hub, backup, restore } = await world(t);
  const old = await joinNode(t, hub, "web1");
  await backup();
  const late = await joinNode(t, hub, "web2");
  const papers = await papersOf(late);
  const foreign = (await memoryOf(old)).mark;
  await restore();
  const thief = generateSigner();
  const client = keyClient(cluster, hub.address, thief);
  atEnd(t, () => client.close());
  const own = await makeEnrol(cluster, late.ticket, late.join, thief, "web2");
  // Its ticket is open again in the store's eyes: nobody joins before the nodes were heard.
  await assert.rejects(client.enrol(own), { code: "HUB_CATCHING_UP" });
  await remind(old);
  for (const mark of [papers.mark, foreign, "", "A".repeat(43)])
    await assert.rejects(comeBack(client, { ...papers, enrol: own, mark }), { code: "TICKET_BAD" }, mark);
  await assert.rejects(comeBack(client, papers), { code: "UNKNOWN_CLIENT" }, "another node's papers");
  await comeBack(late.client, papers);
});

test("papers that were changed are refused", async (t) => {
  const { hub, cluster, backup, restore } = await world(t);
  await backup();
  const late = await joinNode(t, hub, "web1");
  const papers = await papersOf(late);
  const other = await makeTicket(cluster, generateSigner());
  const after = await restore();
  const forged = { ...papers.enrol, s: papers.enrol.s.slice(0, 1) };
  const rows: [Partial<ReturnPost>, string][] = [
    [{ enrol: forged }, "DOC_UNSIGNED"],
    [{ ticket: other }, "TICKET_BAD"],
    [{ ticket: { ...papers.ticket, s: [] } }, "DOC_UNSIGNED"],
  ];
  for (const [change, code] of rows)
    await assert.rejects(comeBack(late.client, { ...papers, ...change }), { code });
  assert.deepEqual(await namesOf(after), []);
});

test("a node that joined and was removed since the backup stays out, whatever it presents", async (t) => {
  const { cluster, hub, backup, restore } = await world(t);
  const old = await joinNode(t, hub, "web1");
  await backup();
  const gone = await joinNode(t, hub, "web2");
  const papers = await papersOf(gone);
  await hub.client.postRevocation(await revoked(cluster, gone));
  const { reminder } = await memoryOf(old);
  const after = await restore();
  await remind(old, reminder);
  await assert.rejects(comeBack(gone.client, papers), { code: "REVOKED" });
  const join = generateSigner();
  const ticket = await makeTicket(cluster, join);
  await after.client.postTicket(ticket);
  const again = await makeEnrol(cluster, ticket, join, gone.key, "web9");
  await assert.rejects(gone.client.enrol(again), { code: "REVOKED" });
  // What is known only by hearsay is passed on: another restore forgets it again.
  assert.deepEqual((await memoryOf(old)).reminder, reminder);
});

test("a node that knows of another's end tells it before it is known itself", async (t) => {
  const { cluster, hub, backup, restore } = await world(t);
  const gone = await joinNode(t, hub, "web1");
  await backup();
  const late = await joinNode(t, hub, "web2");
  await hub.client.postRevocation(await revoked(cluster, gone));
  const papers = await papersOf(late);
  const after = await restore();
  await assert.rejects(comeBack(late.client, papers), { code: "HUB_CATCHING_UP" });
  await assert.rejects(gone.client.wanted(undefined, 0), { code: "REVOKED" });
  assert.deepEqual(await namesOf(after), []);
});

test("labels that were changed since the backup count again, and older ones do not", async (t) => {
  const { cluster, hub, backup, restore } = await world(t);
  const [one, two] = [await joinNode(t, hub, "web1"), await joinNode(t, hub, "web2")];
  const older = await labelled(cluster, one, 1, { role: "web", tier: "old" });
  await hub.client.postLabel(older);
  await backup();
  const newer = await labelled(cluster, one, 3, { role: "db" }, { name: "db1" });
  await hub.client.postLabel(newer);
  const { reminder } = await memoryOf(two);
  const after = await restore();
  const stranger = generateSigner();
  const forged = await labelled(cluster, two, 4, { role: "db" }, { by: stranger });
  await remind(two, { charters: [], changes: [...reminder.changes, { label: forged, revoke: null }] });
  const shown = async (): Promise<unknown> =>
    Object.fromEntries(
      (await nodesOf(after.client)).map(({ name, labels, labelSerial }) => [name, [labels, labelSerial]]),
    );
  const expected = { db1: [{ role: "db" }, 3], web2: [{ role: "web" }, 0] };
  assert.deepEqual(await shown(), expected);
  await remind(one, { charters: [], changes: [{ label: older, revoke: null }] });
  assert.deepEqual(await shown(), expected);
});

test("an end counts by the labels that the node had then, and by the charter of then", async (t) => {
  const { cluster, hub, backup, restore } = await world(t);
  const [kept, gone] = [await joinNode(t, hub, "web1"), await joinNode(t, hub, "web2", { role: "web" })];
  await backup();
  const bob = generateSigner();
  const charter = await charterWithOperator(cluster, bob, ["enrol:role=test"]);
  await hub.client.postCharter(charter);
  await hub.client.postLabel(await labelled(cluster, gone, 1, { role: "test" }));
  const byBob = await revoked(cluster, gone, bob);
  await hub.client.postRevocation(byBob);
  const { reminder } = await memoryOf(kept);
  const after = await restore();
  // Alone it is worth nothing: bob may not end who has the labels of the backup.
  await remind(kept, { charters: [charter], changes: [{ label: null, revoke: byBob }] });
  assert.deepEqual(await namesOf(after), ["web1", "web2"]);
  await remind(kept, { ...reminder, charters: [charter] });
  assert.deepEqual(await namesOf(after), ["web1"]);
});

test("a name that was freed and given away since is the new node's", async (t) => {
  const { cluster, hub, backup, restore } = await world(t);
  const [kept, gone] = [await joinNode(t, hub, "a"), await joinNode(t, hub, "web1")];
  await backup();
  await hub.client.postRevocation(await revoked(cluster, gone));
  const heir = await joinNode(t, hub, "web1");
  await hub.client.postLabel(await labelled(cluster, kept, 1, { role: "web" }, { name: "b" }));
  const papers = await papersOf(heir);
  const after = await restore();
  await remind(kept, NOTHING);
  await remind(gone, NOTHING);
  await comeBack(heir.client, papers);
  const named = Object.fromEntries((await nodesOf(after.client)).map(({ name, node }) => [name, node]));
  assert.deepEqual(named, { b: kept.kid, web1: heir.kid });
});

test("whatever else a member says it remembers changes nothing", async (t) => {
  const { cluster, hub } = await world(t);
  const [one, two] = [await joinNode(t, hub, "web1"), await joinNode(t, hub, "web2")];
  const stranger = generateSigner();
  const foreign = await makeCluster();
  const changes: Change[] = [
    { label: null, revoke: await revoked(cluster, two, stranger) },
    { label: null, revoke: await revoked(foreign, two) },
    { label: null, revoke: one.ticket },
    { label: await labelled(cluster, one, 1, {}), revoke: await revoked(cluster, two) },
    { label: null, revoke: null },
  ];
  await remind(one, { charters: [one.ticket], changes });
  assert.deepEqual(await namesOf(hub), ["web1", "web2"]);
  const many = await Promise.all(
    Array.from({ length: 30 }, async () => {
      const body = { cluster: cluster.id, node: generateSigner().kid, reason: "x", issued: at() };
      return { label: null, revoke: await seal("revoke.1", body, [stranger]) };
    }),
  );
  await remind(one, { charters: [], changes: many });
  assert.deepEqual((await memoryOf(one)).reminder.changes, []);
});
