import assert from "node:assert/strict";
import { PassThrough, Readable } from "node:stream";
import test, { type TestContext } from "node:test";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import type { InstanceReport } from "../api/field-schemas.ts";
import type { CommandLine, HubEvent } from "../api/schemas.ts";
import { fakeClock } from "../lib/time/fake-clock.fixture.ts";
import type { ReleaseId } from "../lib/text/ids.ts";
import { digestOfEnvelope, seal, type Envelope } from "../trust/document/envelope.ts";
import {
  HOUR,
  at,
  joinNode,
  makeOrder,
  makeReceipt,
  makeRelease,
  reportOf,
  rosterOf,
  startTestHub,
  wantedUntil,
  type TestHub,
  type TestNode,
} from "./hub.fixture.ts";

const instanceOf = (name: string, port: number): InstanceReport => ({
  app: "shop",
  env: "default",
  release: "a".repeat(32) as ReleaseId,
  commit: "b".repeat(40),
  process: "web",
  instance: name,
  socket: "http",
  protocol: "http",
  host: "127.0.0.1",
  port,
  pid: 1,
  state: "running",
  since: "2026-01-01T00:00:00.000Z",
});

async function commandFor(hub: TestHub, nodes: readonly TestNode[], more: object = {}): Promise<Envelope> {
  const body = {
    cluster: hub.cluster.id,
    kind: "logs",
    app: "shop",
    env: "default",
    args: { lines: 10 },
    nodes: nodes.map(({ kid }) => kid),
    nonce: "0".repeat(32),
    issued: at(),
    expires: at(60_000),
    ...more,
  };
  return await seal("command.1", body, [hub.cluster.operator]);
}

/** It was there a moment ago. */
async function presentNode(t: TestContext, hub: TestHub, name: string): Promise<TestNode> {
  const node = await joinNode(t, hub, name);
  await node.client.wanted(undefined, 0);
  return node;
}

async function answersTo(hub: TestHub, command: Envelope, signal: AbortSignal): Promise<CommandLine[]> {
  const got: CommandLine[] = [];
  for await (const line of hub.client.command(command, signal)) got.push(line);
  return got;
}

const linesOf = (...lines: object[]): Readable =>
  Readable.from(lines.map((line) => Buffer.from(`${JSON.stringify(line)}\n`)));

/** Only apps that were ordered to a node are in the table: as a restored hub learns it, so that no rollout begins. */
async function giveShop(hub: TestHub, node: TestNode): Promise<void> {
  const roster = rosterOf([node]);
  const order = await makeOrder(hub.cluster, "a".repeat(32) as ReleaseId, roster);
  await hub.hub.orders.restore({ order: order.envelope, roster });
}

test("the port table is what nodes report, entry by entry", async (t) => {
  const hub = await startTestHub(t);
  const node = await joinNode(t, hub, "web1");
  await giveShop(hub, node);
  const [one, two] = [instanceOf("web.1", 8001), instanceOf("web.2", 8002)];
  await node.client.report(reportOf({ instances: [one, two] }));
  const { ports } = await hub.client.ports({ app: "shop" });
  assert.deepEqual(
    ports.map(({ instance, port, nodeName, stale }) => ({ instance, port, nodeName, stale })),
    [
      { instance: "web.1", port: 8001, nodeName: "web1", stale: false },
      { instance: "web.2", port: 8002, nodeName: "web1", stale: false },
    ],
  );
  await node.client.report(reportOf({ instances: [two] }));
  assert.deepEqual(
    (await hub.client.ports()).ports.map(({ instance }) => instance),
    ["web.2"],
  );
  assert.deepEqual((await hub.client.ports({ app: "bank" })).ports, []);
});

test("an unchanged report writes nothing, and a new hub takes over the lease", async (t) => {
  const first = await startTestHub(t);
  const node = await joinNode(t, first, "web1");
  await giveShop(first, node);
  await node.client.report(reportOf({ instances: [instanceOf("web.1", 8001)] }));
  const { revision } = await first.client.ports();
  await node.client.report(reportOf({ instances: [instanceOf("web.1", 8001)] }));
  assert.equal((await first.client.ports()).revision, revision);
  await first.close();

  const { cluster, home } = first;
  const second = await startTestHub(t, { cluster, home, listen: { host: "127.0.0.1", port: first.port } });
  assert.equal((await second.client.ports()).ports.length, 1, "frozen while no hub answered");
  const before = (await second.client.ports()).revision;
  await node.client.report(reportOf({ instances: [instanceOf("web.1", 8001)] }));
  const entries = await second.hub.core.store.range("/ports/");
  assert.equal(entries.entries.length, 1);
  assert.ok((entries.entries[0]?.modRevision ?? 0) <= before, "the entry was not written again");
});

test("a report is one transaction, with what it says of the node, its instances and its receipts", async (t) => {
  const hub = await startTestHub(t);
  const node = await joinNode(t, hub, "web1");
  const roster = rosterOf([node]);
  const order = await makeOrder(hub.cluster, "a".repeat(32) as ReleaseId, roster);
  await hub.hub.orders.restore({ order: order.envelope, roster });
  await node.client.report(reportOf({ instances: [instanceOf("web.1", 8001)] }));
  const { revision } = hub.hub.core.mirror;
  const receipt = await makeReceipt(hub.cluster, node, order);
  const instances = [instanceOf("web.1", 8002), instanceOf("web.2", 8003)];
  const said = await node.client.report(reportOf({ version: "2", instances, receipts: [receipt, receipt] }));
  assert.equal(said.receipts.length, 2);
  let wrote: readonly string[] = [];
  for await (const events of hub.hub.core.store.watch("", revision + 1, t.signal)) {
    wrote = events.map(({ key }) => key.replace(node.kid, "NODE").replace(order.digest, "ORDER"));
    if (wrote.some((key) => key.includes("NODE"))) break;
  }
  assert.deepEqual(wrote, [
    "/nodes/NODE/view",
    "/ports/NODE/web.1",
    "/ports/NODE/web.2",
    "/receipts/ORDER/NODE",
    "/nodes/NODE/receipts/shop/default",
  ]);
});

test("events resume after the last one seen, also across a restart of the hub", async (t) => {
  const first = await startTestHub(t);
  const node = await joinNode(t, first, "web1");
  await giveShop(first, node);
  const stop = new AbortController();
  atEnd(t, () => stop.abort());
  const seen: HubEvent[] = [];
  let news = Promise.withResolvers<undefined>();
  const follow = (async () => {
    for await (const event of first.client.watch(stop.signal, { prefix: "ports" })) {
      seen.push(event);
      news.resolve(undefined);
    }
  })();
  const until = async (holds: () => boolean): Promise<void> => {
    while (!holds()) {
      await news.promise;
      news = Promise.withResolvers<undefined>();
    }
  };
  const ports = (): unknown[] =>
    seen.filter(({ type }) => type === "port").map(({ value }) => (value as InstanceReport | null)?.port);
  await until(() => seen.length === 1);
  assert.equal(seen[0]?.type, "synced");
  await node.client.report(reportOf({ instances: [instanceOf("web.1", 8001)] }));
  await until(() => ports().length === 1);

  // The client stays; only the hub under it is another.
  const { cluster, home, port } = first;
  await first.closeHubOnly();
  const second = await startTestHub(t, { cluster, home, listen: { host: "127.0.0.1", port } });
  await node.client.report(reportOf({ instances: [instanceOf("web.2", 8002)] }));
  await until(() => ports().length >= 3);
  assert.deepEqual(new Set(ports()), new Set([8001, 8002, undefined]));
  assert.equal(
    new Set(seen.map(({ revision, key, type }) => `${revision} ${key} ${type}`)).size,
    seen.length,
  );
  stop.abort();
  await follow;
  await second.close();
});

test("a watch from a revision that was compacted away is told so", async (t) => {
  const hub = await startTestHub(t);
  await hub.client.postRelease((await makeRelease(hub.cluster, "shop", "one")).envelope);
  const { revision } = await hub.client.nodes();
  await hub.hub.core.store.compact(revision);
  const stop = new AbortController();
  atEnd(t, () => stop.abort());
  const watch = hub.client.watch(stop.signal, { from: 1 });
  await assert.rejects(
    async () => {
      for await (const event of watch) assert.equal(event.type, "synced");
    },
    { code: "STORE_COMPACTED" },
  );
});

test("a command reaches its nodes, and their lines come back until all have ended", async (t) => {
  const hub = await startTestHub(t);
  const nodes = [await presentNode(t, hub, "web1"), await presentNode(t, hub, "web2")];
  const command = await commandFor(hub, nodes);
  const answers = nodes.map(async ({ client, kid, name }) => {
    const wanted = await wantedUntil(client, ({ commands }) => commands.length > 0);
    assert.deepEqual(wanted.commands, [command]);
    const lines = linesOf({ type: "line", text: `from ${name}` }, { type: "result", ok: true });
    await client.answerCommand(digestOfEnvelope(command), kid, lines, t.signal);
    assert.deepEqual((await client.wanted(undefined, 0))?.commands, []);
  });
  const got = await answersTo(hub, command, t.signal);
  await Promise.all(answers);
  assert.equal(got.filter(({ type }) => type === "result").length, 2);
  for (const { kid, name } of nodes) {
    assert.deepEqual(
      got.filter(({ node }) => node === kid),
      [
        { node: kid, type: "line", text: `from ${name}` },
        { node: kid, type: "result", ok: true },
      ],
    );
  }
});

test("who does not answer before the command expires is named", async (t) => {
  // By the hub's clock it comes in time, however long it is under way.
  const hub = await startTestHub(t, { clock: fakeClock(Date.now()) });
  const node = await presentNode(t, hub, "web1");
  const command = await commandFor(hub, [node], { expires: at(300) });
  const got = await answersTo(hub, command, t.signal);
  assert.deepEqual(
    got.map(({ node, type, code }) => ({ node, type, code })),
    [{ node: node.kid, type: "result", code: "TIMEOUT" }],
  );
});

const silenceOf = ({ kid }: TestNode) => ({
  node: kid,
  type: "result",
  ok: false,
  code: "NODES_SILENT",
  message: "it is away: the hub hears nothing of it",
});

test("the hub answers for a node whose connection broke, before it counts as absent", async (t) => {
  const clock = fakeClock(Date.now());
  const hub = await startTestHub(t, { clock });
  const node = await joinNode(t, hub, "web1");
  const { etag } = (await node.client.wanted(undefined, 0)) ?? {};
  const poll = node.client.wanted(etag, 60_000).catch(() => undefined);
  while (!hub.hub.wanted.isWaiting(node.kid)) await new Promise(setImmediate);
  node.client.close();
  await poll;
  while (hub.hub.wanted.isWaiting(node.kid)) await new Promise(setImmediate);
  clock.advance(1500);
  assert.equal(hub.hub.presence.present(node.kid), true, "it may call again");
  assert.deepEqual(await answersTo(hub, await commandFor(hub, [node]), t.signal), [silenceOf(node)]);
});

test("a node that falls silent over a command is answered for, and what it says later goes nowhere", async (t) => {
  const clock = fakeClock(Date.now());
  const hub = await startTestHub(t, { clock });
  const nodes = [await presentNode(t, hub, "mute"), await presentNode(t, hub, "begun")] as const;
  const command = await commandFor(hub, nodes);
  const got = answersTo(hub, command, t.signal);
  await Promise.all(nodes.map(({ client }) => wantedUntil(client, ({ commands }) => commands.length > 0)));
  const said = new PassThrough();
  const answer = nodes[1].client.answerCommand(digestOfEnvelope(command), nodes[1].kid, said, t.signal);
  said.write('{"type":"line","text":"a word"}\n');
  while (hub.hub.commands.openFor(nodes[1].kid).length > 0) await new Promise(setImmediate);
  for (let passed = 0; passed <= 31_000; passed += 1000) {
    clock.advance(1000);
    await new Promise(setImmediate);
  }
  const lines = await got;
  assert.deepEqual(new Set(lines.slice(-2)), new Set(nodes.map(silenceOf)));
  said.end('{"type":"result","ok":true}\n');
  await answer;
  assert.equal(hub.hub.commands.openFor(nodes[0].kid).length, 0, "it is handed to nobody any more");
});

test("a command without the right, out of date, or answered by another node goes nowhere", async (t) => {
  const hub = await startTestHub(t);
  const [one, two] = [await joinNode(t, hub, "web1"), await joinNode(t, hub, "web2")];
  const run = async (command: Envelope): Promise<void> => {
    for await (const _ of hub.client.command(command, t.signal)) break;
  };
  await assert.rejects(run(await commandFor(hub, [one], { issued: at(-2 * HOUR), expires: at(-HOUR) })), {
    code: "NOT_AUTHORISED",
  });
  const forged = await commandFor(hub, [one]);
  await assert.rejects(run({ ...forged, s: [] }), { code: "DOC_UNSIGNED" });
  const digest = digestOfEnvelope(forged);
  await assert.rejects(two.client.answerCommand(digest, one.kid, linesOf(), t.signal), {
    code: "NOT_AUTHORISED",
  });
  await assert.rejects(one.client.answerCommand(digest, one.kid, linesOf(), t.signal), { code: "NOT_FOUND" });
});
