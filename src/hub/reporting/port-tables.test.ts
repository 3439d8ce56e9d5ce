import assert from "node:assert/strict";
import test, { type TestContext } from "node:test";
import type { InstanceReport } from "../../api/field-schemas.ts";
import type { HubEvent, PortEntry } from "../../api/schemas.ts";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { jsonLog } from "../../lib/process/log.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import { readUnverified, seal } from "../../trust/document/envelope.ts";
import { generateSigner } from "../../trust/keys/keys.ts";
import {
  at,
  charterWithOperator,
  joinNode,
  keyClient,
  makeEnrol,
  makeOrder,
  makeTicket,
  reportOf,
  rosterOf,
  startTestHub,
  type TestHub,
  type TestNode,
} from "../hub.fixture.ts";
import { portTables } from "../../agent/source/port-tables.ts";

const RELEASE = "a".repeat(32) as ReleaseId;
const instanceOf = (name: string, port: number): InstanceReport => ({
  app: "shop",
  env: "default",
  release: RELEASE,
  commit: null,
  process: "web",
  instance: name,
  socket: "http",
  protocol: "http",
  host: "127.0.0.1",
  port,
  pid: 1,
  state: "serving",
  since: "2026-01-01T00:00:00.000Z",
});

async function shopOn(
  t: TestContext,
  names: readonly string[],
): Promise<{ hub: TestHub; nodes: TestNode[] }> {
  const hub = await startTestHub(t);
  const nodes: TestNode[] = [];
  for (const name of names) nodes.push(await joinNode(t, hub, name));
  const roster = rosterOf(nodes);
  const order = await makeOrder(hub.cluster, RELEASE, roster);
  await hub.hub.orders.restore({ order: order.envelope, roster });
  return { hub, nodes };
}

const portsIn = (table: readonly PortEntry[]): string[] =>
  table.map(({ nodeName, port }) => `${nodeName}:${port}`).sort();

/** Follows the table as one node does, counting how often it asks for all of it. */
function follower(t: TestContext, node: TestNode, hidden: (event: HubEvent) => HubEvent = (event) => event) {
  const stop = new AbortController();
  const state = { asked: 0, charter: 1, revision: 0, table: [] as string[] };
  let news = Promise.withResolvers<undefined>();
  const client = {
    ports: async (...args: Parameters<typeof node.client.ports>) => {
      state.asked += 1;
      return await node.client.ports(...args);
    },
    async *watch(...args: Parameters<typeof node.client.watch>) {
      for await (const event of node.client.watch(...args)) yield hidden(event);
    },
  };
  const run = (async () => {
    for await (const { ports, revision } of portTables(client, () => state.charter, stop.signal)) {
      assert.ok(revision >= state.revision, "none is older than the one before");
      state.revision = revision;
      state.table = portsIn(ports);
      news.resolve(undefined);
    }
  })();
  atEnd(t, async () => {
    stop.abort();
    await run;
  });
  const shows = async (...wanted: readonly string[]): Promise<void> => {
    while (JSON.stringify(state.table) !== JSON.stringify(wanted)) {
      await news.promise;
      news = Promise.withResolvers<undefined>();
    }
  };
  return { state, shows };
}

test("a node reads the table once and then only what changes, however many others change it", async (t) => {
  const { nodes } = await shopOn(t, ["web1", "web2", "web3"]);
  const [one, two, three] = nodes as [TestNode, TestNode, TestNode];
  await one.client.report(reportOf({ instances: [instanceOf("web.1", 8000)] }));
  const { state, shows } = follower(t, one);
  await shows("web1:8000");
  const { revision } = state;
  for (let n = 1; n <= 20; n++) {
    await two.client.report(reportOf({ instances: [instanceOf("web.1", 8100 + n)] }));
    await three.client.report(reportOf({ instances: [instanceOf("web.1", 8200 + n)] }));
  }
  await shows("web1:8000", "web2:8120", "web3:8220");
  await two.client.report(reportOf({ instances: [] }));
  await shows("web1:8000", "web3:8220");
  assert.equal(state.asked, 1);
  assert.ok(state.revision >= revision + 41, "it says how new it is");
});

test("a node that is revoked, or that a charter vouches for no more, leaves the followers' tables at once", async (t) => {
  const { hub, nodes } = await shopOn(t, ["web1", "web2"]);
  const { cluster } = hub;
  const [one, two] = nodes as [TestNode, TestNode];
  const bob = generateSigner();
  await hub.client.postCharter(await charterWithOperator(cluster, bob, ["enrol:*"]));
  const [join, key] = [generateSigner(), generateSigner()];
  const ticket = await makeTicket(cluster, join, { labels: { role: "web" } }, bob);
  await hub.client.postTicket(ticket);
  const three = keyClient(cluster, hub.address, key);
  atEnd(t, () => three.close());
  await three.enrol(await makeEnrol(cluster, ticket, join, key, "web3"));
  for (const [n, client] of [one.client, two.client, three].entries())
    await client.report(reportOf({ instances: [instanceOf("web.1", 8000 + n)] }));
  const { state, shows } = follower(t, one);
  await shows("web1:8000", "web2:8001", "web3:8002");

  const body = { cluster: cluster.id, node: two.kid, reason: "lost", issued: at() };
  await hub.client.postRevocation(await seal("revoke.1", body, [cluster.operator]));
  await shows("web1:8000", "web3:8002");
  const without = { ...readUnverified(cluster.charter, "charter.1"), version: 3, issued: at() };
  await hub.client.postCharter(await seal("charter.1", without, [cluster.operator]));
  await shows("web1:8000");
  assert.equal(state.asked, 1, "nothing was read anew");
});

test("an instance that no order here gave its node is not listed, and told of once", async (t) => {
  const logged: { msg: string; app?: string }[] = [];
  const log = jsonLog((line) => void logged.push(JSON.parse(line) as (typeof logged)[number]));
  const hub = await startTestHub(t, { log });
  const node = await joinNode(t, hub, "web1");
  for (const name of ["web.1", "web.1", "web.2"])
    await node.client.report(reportOf({ instances: [instanceOf(name, 8000)] }));
  assert.deepEqual((await node.client.ports()).ports, []);
  const told = logged.filter(({ app }) => app === "shop/default");
  assert.deepEqual(
    told.map(({ msg }) => msg),
    ["no order here gives an app to a node that runs it: it is not listed"],
  );
});

test("a new charter, and a hub that tells less, have a node read all of it again", async (t) => {
  const { nodes } = await shopOn(t, ["web1", "web2"]);
  const [one, two] = nodes as [TestNode, TestNode];
  const { state, shows } = follower(t, one);
  await two.client.report(reportOf({ instances: [instanceOf("web.1", 8001)] }));
  await shows("web2:8001");
  state.charter = 2;
  const asked = state.asked;
  await two.client.report(reportOf({ instances: [instanceOf("web.1", 8002)] }));
  await shows("web2:8002");
  assert.equal(state.asked, asked + 1);

  const old = follower(t, one, (event) =>
    event.value === null ? event : { ...event, value: { ...(event.value as object), nodeName: undefined } },
  );
  await old.shows("web2:8002");
  await two.client.report(reportOf({ instances: [instanceOf("web.1", 8003)] }));
  await old.shows("web2:8003");
  assert.equal(old.state.asked, 2);
});
