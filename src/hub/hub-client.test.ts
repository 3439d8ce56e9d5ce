import assert from "node:assert/strict";
import https from "node:https";
import net from "node:net";
import test, { type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { splitAddress, type HubAddress } from "../api/hub-address.ts";
import type { HubClientOptions } from "../api/hub-caller.ts";
import { HubClient } from "../api/hub-client.ts";
import { HubLine, type Patience } from "../api/hub-line.ts";
import { ndjsonLines } from "../api/ndjson.ts";
import { listening } from "../lib/process/listening.ts";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import { eventually } from "../lib/testing/eventually.fixture.ts";
import { systemClock } from "../lib/time/clock.ts";
import { ephemeralIdentity, serverTlsOptions } from "../trust/connection/tls.ts";
import { seal } from "../trust/document/envelope.ts";
import { HOUR, at, makeCluster, startTestHub, type Cluster } from "./hub.fixture.ts";

async function clientOf(
  cluster: Cluster,
  hubs: readonly HubAddress[],
  more: Pick<HubClientOptions, "thrifty" | "patience"> = {},
): Promise<HubClient> {
  const identity = ephemeralIdentity();
  const body = {
    cluster: cluster.id,
    operator: cluster.operator.kid,
    key: identity.spki,
    issued: at(),
    expires: at(HOUR),
  };
  const session = await seal("session.1", body, [cluster.operator]);
  return new HubClient({ hubs, identity, session, ...more });
}

/** @returns its address */
async function tcpServer(t: TestContext, onSocket: (socket: net.Socket) => unknown): Promise<string> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    onSocket(socket);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  atEnd(t, () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return `127.0.0.1:${(server.address() as net.AddressInfo).port}`;
}

test("of several hubs one that answers is found, and asked first from then on", async (t) => {
  const gone = await startTestHub(t);
  const hub = await startTestHub(t);
  await gone.close();
  const hubs = [
    { spki: gone.spki, address: gone.address },
    { spki: hub.spki, address: hub.address },
  ];
  using client = await clientOf(hub.cluster, hubs);
  assert.equal((await client.hub()).cluster, hub.cluster.id);
  assert.equal(client.name, `hub ${hub.address}`);
});

test("requests that wait for their turn at a hub that is gone go on to the next with the first of them", async (t) => {
  const hub = await startTestHub(t);
  let tried = 0;
  const gone = await tcpServer(t, (socket) => {
    tried += 1;
    socket.destroy();
  });
  const hubs = [
    { spki: hub.spki, address: gone },
    { spki: hub.spki, address: hub.address },
  ];
  using client = await clientOf(hub.cluster, hubs, { thrifty: true });
  await Promise.all([client.hub(), client.hub(), client.nodes(), client.apps()]);
  assert.equal(tried, 1);
});

test("a hub that takes connections and says nothing holds nobody up where there is another one", async (t) => {
  const hub = await startTestHub(t);
  const seen: string[] = [];
  const silent = await tcpServer(t, (socket) => {
    seen.push("silent asked");
    socket.resume().once("close", () => seen.push("silent given up"));
    socket.on("error", () => undefined);
  });
  const way = await tcpServer(t, async (socket) => {
    await sleep(100); // by then it would be known that the first one was given up before this one was asked
    seen.push("other answers");
    const { host, port } = splitAddress(hub.address);
    const on = net.connect(port, host);
    socket.pipe(on).pipe(socket);
    for (const end of [socket, on]) end.on("error", () => undefined);
  });
  const hubs = [silent, way].map((address) => ({ spki: hub.spki, address }));
  using client = await clientOf(hub.cluster, hubs, { thrifty: true });
  await Promise.all([client.hub(), client.nodes()]);
  await eventually("hung up", () => seen.includes("silent given up"));
  assert.deepEqual(seen, ["silent asked", "other answers", "silent given up"]);
  assert.equal(client.name, `hub ${way}`);
});

test("a connection that was begun early serves the first request; one that failed is told to who asks", async (t) => {
  const hub = await startTestHub(t);
  let opened = 0;
  const address = await tcpServer(t, (socket) => {
    opened += 1;
    const { host, port } = splitAddress(hub.address);
    const on = net.connect(port, host);
    socket.pipe(on).pipe(socket);
    for (const end of [socket, on]) end.on("error", () => undefined);
  });
  using client = await clientOf(hub.cluster, [{ spki: hub.spki, address }], { thrifty: true });
  client.connect();
  await eventually("it is opened", () => opened === 1);
  await Promise.all([client.hub(), client.nodes()]);
  assert.equal(opened, 1);
  const gone = await tcpServer(t, (socket) => socket.destroy());
  using other = await clientOf(hub.cluster, [{ spki: hub.spki, address: gone }], { thrifty: true });
  other.connect();
  await assert.rejects(other.hub(), { code: "HUB_UNREACHABLE" });
});

/** As a command has it. @param waited given what is told of each wait */
const patience = (waited: string[], ms = 60_000): Patience => ({
  ms,
  clock: systemClock,
  onWait: (text) => void waited.push(text),
});

test("a hub that is being restarted is waited for, which is told once", async (t) => {
  const first = await startTestHub(t);
  const { cluster, home, port } = first;
  await first.closeHubOnly();
  const hubs = [{ spki: first.spki, address: `127.0.0.1:${port}` }];
  const waited: string[] = [];
  using impatient = await clientOf(cluster, hubs);
  await assert.rejects(impatient.hub(), { code: "HUB_UNREACHABLE" });
  using client = await clientOf(cluster, hubs, { thrifty: true, patience: patience(waited) });
  const asked = Promise.all([client.hub(), client.nodes()]);
  await eventually("it waits", () => waited.length > 0);
  await startTestHub(t, { cluster, home, listen: { host: "127.0.0.1", port } });
  await asked;
  assert.equal(waited.length, 1);
  assert.match(waited[0] ?? "", /does not answer \(127\.0\.0\.1:\d+: ECONNREFUSED\): it may be restarting/);
  using brief = await clientOf(cluster, [{ spki: first.spki, address: await tcpServer(t, hangUp) }], {
    patience: patience(waited, 300),
  });
  await assert.rejects(brief.hub(), { code: "HUB_UNREACHABLE" }, "and not for ever");
  const over = AbortSignal.timeout(300);
  using cut = await clientOf(cluster, [{ spki: first.spki, address: await tcpServer(t, hangUp) }], {
    patience: patience(waited),
  });
  await assert.rejects(cut.hub(over), { name: "TimeoutError" });
});

const hangUp = (socket: net.Socket): void => void socket.destroy();

test("what a hub may have heard is not sent to it twice, but for what only asks", async (t) => {
  const identity = ephemeralIdentity();
  const heard: string[] = [];
  const server = https.createServer(serverTlsOptions(identity), (req, res) => {
    heard.push(req.method ?? "");
    if (heard.filter((method) => method === "GET").length < 3) req.socket.destroy();
    else res.end("{}");
  });
  await listening("the test", server, { host: "127.0.0.1", port: 0 });
  atEnd(t, () => void server.close());
  const { port } = server.address() as net.AddressInfo;
  const hubs = [{ spki: identity.spki, address: `127.0.0.1:${port}` }];
  using line = new HubLine({ hubs, identity: ephemeralIdentity(), patience: patience([]) });
  const post = { method: "POST", path: "/v1/orders", body: "{}" };
  await assert.rejects(line.send(post), { code: "HUB_UNREACHABLE" });
  assert.deepEqual(heard, ["POST"]);
  (await line.send({ method: "GET", path: "/v1/hub" })).resume();
  assert.deepEqual(heard, ["POST", "GET", "GET", "GET"]);
});

test("a hub that is named twice is asked once", async (t) => {
  const hub = await startTestHub(t);
  let tried = 0;
  const address = await tcpServer(t, (socket) => {
    tried += 1;
    socket.destroy();
  });
  using client = await clientOf(hub.cluster, [
    { spki: hub.spki, address },
    { spki: hub.spki, address },
  ]);
  await assert.rejects(client.hub(), { code: "HUB_UNREACHABLE" });
  assert.equal(tried, 1);
});

test("when no hub answers, a wrong key among them is what is told", async (t) => {
  const hub = await startTestHub(t);
  const gone = await startTestHub(t);
  await gone.close();
  const hubs = [
    { spki: ephemeralIdentity().spki, address: hub.address },
    { spki: gone.spki, address: gone.address },
  ];
  using client = await clientOf(hub.cluster, hubs);
  await assert.rejects(client.hub(), { code: "PIN_MISMATCH" });
});

test("a session vouches for its own key only, and for its time", async (t) => {
  const hub = await startTestHub(t);
  const { cluster } = hub;
  const hubs = [{ spki: hub.spki, address: hub.address }];
  const identity = ephemeralIdentity();
  const make = async (key: string, issued: number, expires: number) =>
    await seal(
      "session.1",
      {
        cluster: cluster.id,
        operator: cluster.operator.kid,
        key: key as never,
        issued: at(issued),
        expires: at(expires),
      },
      [cluster.operator],
    );
  const unsigned = { ...(await make(identity.spki, 0, HOUR)), s: [] };
  const sessions = [
    [await make(ephemeralIdentity().spki, 0, HOUR), "UNKNOWN_CLIENT"],
    [await make(identity.spki, -2 * HOUR, -HOUR), "CLOCK_SKEW"],
    [await make(identity.spki, 0, 48 * HOUR), "UNKNOWN_CLIENT"],
    [await make(identity.spki, HOUR, 2 * HOUR), "DOC_FROM_FUTURE"],
    [unsigned, "DOC_UNSIGNED"],
  ] as const;
  for (const [session, code] of sessions) {
    using client = new HubClient({ hubs, identity, session });
    await assert.rejects(client.nodes(), { code });
  }
  const shown = [await make(identity.spki, -2 * HOUR, -HOUR), await make(identity.spki, 0, HOUR)];
  using client = new HubClient({ hubs, identity, session: async () => shown.shift() ?? unsigned });
  await assert.rejects(client.nodes(), { code: "CLOCK_SKEW" });
  await client.nodes();
});

test("a session of another cluster opens nothing here", async (t) => {
  const hub = await startTestHub(t);
  using client = await clientOf(await makeCluster(), [{ spki: hub.spki, address: hub.address }]);
  await assert.rejects(client.nodes(), { code: "WRONG_CLUSTER" });
});

test("addresses are host:port, IPv6 in brackets", () => {
  assert.deepEqual(splitAddress("hub1:7400"), { host: "hub1", port: 7400 });
  assert.deepEqual(splitAddress("[::1]:7400"), { host: "::1", port: 7400 });
  for (const bad of ["hub1", "::1:7400", "hub1:99999", ":7400", "a b:1"]) {
    assert.throws(() => splitAddress(bad), { code: "USAGE" }, bad);
  }
});

test("lines are parsed whatever the pieces they come in, heartbeats are skipped", async () => {
  const bytes = Buffer.from('{"a":"ä"}\n\n\n{"b":2}\n{"c":3}');
  for (const size of [1, 2, 3, 7, 100]) {
    const pieces = async function* (): AsyncGenerator<Uint8Array, void> {
      for (let from = 0; from < bytes.length; from += size) yield bytes.subarray(from, from + size);
    };
    const lines: unknown[] = [];
    for await (const line of ndjsonLines(pieces())) lines.push(line);
    assert.deepEqual(lines, [{ a: "ä" }, { b: 2 }, { c: 3 }]);
  }
});
