import assert from "node:assert/strict";
import { once } from "node:events";
import type http from "node:http";
import https from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import test, { type TestContext } from "node:test";
import type { TLSSocket } from "node:tls";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { SkeinError, toWire } from "../../lib/errors/errors.ts";
import { jsonOf, pinnedClient, type PinnedClient } from "./http-client.ts";
import { ephemeralIdentity, peerKey, serverTlsOptions } from "./tls.ts";

const hub = ephemeralIdentity();
const me = ephemeralIdentity();

interface Started {
  readonly client: PinnedClient;
  readonly server: https.Server;
  readonly port: number;
  readonly connections: Socket[];
}

async function start(t: TestContext, handler: http.RequestListener): Promise<Started> {
  const server = https.createServer(serverTlsOptions(hub), handler);
  const connections: Socket[] = [];
  server.on("secureConnection", (socket) => connections.push(socket));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const client = pinnedClient({ host: "127.0.0.1", port, pins: [hub.spki], identity: me });
  atEnd(t, () => {
    client.close();
    for (const socket of connections) socket.destroy();
    server.close();
  });
  return { client, server, port, connections };
}

test("requests share a kept connection", async (t) => {
  const { client, connections } = await start(t, (req, res) => {
    res.end(JSON.stringify({ path: req.url, who: peerKey(req.socket as TLSSocket)?.spki }));
  });
  for (let n = 0; n < 3; n++) {
    const answer = await jsonOf(await client.send({ method: "GET", path: `/${n}` }));
    assert.deepEqual(answer, { path: `/${n}`, who: me.spki });
  }
  assert.equal(connections.length, 1);
});

test("where it is told to be thrifty, short requests at one time take turns, and a long one holds nobody up", async (t) => {
  const { port, connections } = await start(t, (req, res) => {
    if (req.url === "/long") res.write("so far");
    else res.end();
  });
  using client = pinnedClient({ host: "127.0.0.1", port, pins: [hub.spki], identity: me, thrifty: true });
  const ask = async (path: string): Promise<void> =>
    void (await jsonOf(await client.send({ method: "GET", path })));
  const paths = Array.from({ length: 16 }, (_, n) => `/${n}`);
  await Promise.all(paths.map(ask));
  assert.ok(connections.length < 16, `${connections.length} connections for 16 short requests`);
  await client.send({ method: "GET", path: "/long" });
  await Promise.all(["/a", "/b"].map(ask));
});

test("a wrong pin is told and no request is sent", async (t) => {
  let requests = 0;
  const { port } = await start(t, (_req, res) => {
    requests += 1;
    res.end();
  });
  using stranger = pinnedClient({ host: "127.0.0.1", port, pins: [me.spki], identity: me });
  await assert.rejects(stranger.send({ method: "GET", path: "/" }), { code: "PIN_MISMATCH" });
  assert.equal(requests, 0);
});

test("an error keeps its code, message and data on the way", async (t) => {
  const { client } = await start(t, (_req, res) => {
    res
      .writeHead(409)
      .end(JSON.stringify({ error: toWire(new SkeinError("HEAD_MOVED", "too late", { data: { seq: 3 } })) }));
  });
  await assert.rejects(client.send({ method: "GET", path: "/" }), {
    code: "HEAD_MOVED",
    message: "too late",
    data: { seq: 3, status: 409 },
  });
});

test("an answer that is no error of ours is still an error", async (t) => {
  const { client } = await start(t, (_req, res) => void res.writeHead(502).end("<html>"));
  await assert.rejects(client.send({ method: "GET", path: "/" }), { code: "HUB_UNREACHABLE" });
});

test("a connection that went stale between two requests is replaced", async (t) => {
  const { client, connections } = await start(t, (_req, res) => void res.end("{}"));
  await jsonOf(await client.send({ method: "GET", path: "/" }));
  // The client must not learn of the end before it writes.
  connections[0]?.pause();
  connections[0]?.destroy();
  await jsonOf(await client.send({ method: "POST", path: "/", body: "{}" }));
  assert.equal(connections.length, 2);
});

test("beside a connection that died without a word, no idle one is trusted", async (t) => {
  const { client, connections } = await start(t, (req, res) => {
    // Both are asked at once, so each gets a connection of its own.
    setTimeout(() => res.end(`{"path":"${req.url}"}`), 40);
  });
  const ask = async (path: string, timeoutMs = 30_000): Promise<unknown> =>
    await jsonOf(await client.send({ method: "GET", path, timeoutMs }));
  await Promise.all([ask("/1"), ask("/2")]);
  assert.equal(connections.length, 2);
  for (const socket of connections) socket.pause();
  await assert.rejects(ask("/3", 200), { code: "HUB_UNREACHABLE" });
  assert.deepEqual(await ask("/4", 2000), { path: "/4" });
  assert.equal(connections.length, 3);
});

test("nor is one beside an answer that stopped in its midst", async (t) => {
  const { client, connections } = await start(t, (req, res) => {
    if (req.url === "/long") res.write("{");
    else res.end("{}");
  });
  const long = await client.send({ method: "GET", path: "/long" });
  await jsonOf(await client.send({ method: "GET", path: "/" }));
  for (const socket of connections) socket.pause();
  await assert.rejects(jsonOf(long, { graceMs: 40 }), { code: "HUB_UNREACHABLE" });
  assert.deepEqual(await jsonOf(await client.send({ method: "GET", path: "/", timeoutMs: 2000 })), {});
});

test("a server that does not answer in time, and a caller who gives up", async (t) => {
  const { client } = await start(t, () => undefined);
  await assert.rejects(client.send({ method: "GET", path: "/", timeoutMs: 40 }), { code: "HUB_UNREACHABLE" });
  const stop = new AbortController();
  const waiting = client.send({ method: "GET", path: "/", signal: stop.signal });
  stop.abort(new Error("changed my mind"));
  await assert.rejects(waiting, /changed my mind/);
});

test("who waits for a connection learns that the server has gone, or gives up", async (t) => {
  const { port, server, connections } = await start(t, () => undefined);
  const few = { host: "127.0.0.1", port, pins: [hub.spki], identity: me, maxSockets: 2 };
  using client = pinnedClient(few);
  const ask = async (more: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<unknown> =>
    await client.send({ method: "GET", path: "/", ...more });
  const held = [ask(), ask()];
  await once(server, "request");
  await once(server, "request");
  const stop = new AbortController();
  const [late, left, ...waiting] = [
    ask({ timeoutMs: 100 }),
    ask({ signal: stop.signal }),
    ask(),
    ask(),
    ask(),
  ];
  stop.abort(new Error("changed my mind"));
  await assert.rejects(left, /changed my mind/);
  await assert.rejects(late, { code: "HUB_UNREACHABLE" });
  server.close();
  for (const socket of connections) socket.destroy();
  for (const asked of [...held, ...waiting]) await assert.rejects(asked, { code: "HUB_UNREACHABLE" });
});

test("bodies stream both ways", async (t) => {
  const { client } = await start(t, (req, res) => void req.pipe(res));
  const body = Readable.from([Buffer.from("one "), Buffer.from("two")]);
  const response = await client.send({ method: "PUT", path: "/", body });
  assert.equal(await text(response), "one two");
});

test("an upgraded connection carries raw bytes, and a refused one its error", async (t) => {
  const { client, server } = await start(t, (_req, res) => void res.end());
  server.on("upgrade", (req, socket) => {
    if (req.url === "/no") {
      const body = JSON.stringify({ error: toWire(new SkeinError("NOT_AUTHORISED", "no")) });
      socket.end(
        `HTTP/1.1 403 Forbidden\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
      );
      return;
    }
    socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: skein-git\r\n\r\nhead");
    socket.pipe(socket);
  });
  const socket = await client.upgrade({ method: "GET", path: "/yes", protocol: "skein-git" });
  socket.end(" and tail");
  assert.equal(await text(socket), "head and tail");
  const refused = client.upgrade({ method: "GET", path: "/no", protocol: "skein-git" });
  await assert.rejects(refused, { code: "NOT_AUTHORISED" });
});

test("a closed client cuts what is under way", async (t) => {
  const { client } = await start(t, () => undefined);
  const waiting = client.send({ method: "GET", path: "/" });
  client.close();
  await assert.rejects(waiting, { code: "HUB_UNREACHABLE" });
});
