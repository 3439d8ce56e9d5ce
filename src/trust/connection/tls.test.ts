import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import dns from "node:dns";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import test, { type TestContext } from "node:test";
import tls from "node:tls";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";
import {
  ASK_AFTER_MS,
  SERVER_ASKS_AFTER_MS,
  connectPinned,
  ephemeralIdentity,
  peerKey,
  serverTlsOptions,
  tlsIdentity,
} from "./tls.ts";

const server = tlsIdentity(generateKeyPairSync("ed25519").privateKey, "hub");
const client = ephemeralIdentity();

interface Started {
  readonly port: number;
  /** What the server saw of each client: its digest, or undefined. */
  readonly seen: (string | undefined)[];
  /** Bytes that clients wrote. */
  readonly got: Buffer[];
}

async function start(t: TestContext): Promise<Started> {
  const seen: (string | undefined)[] = [];
  const got: Buffer[] = [];
  const listener = tls.createServer(serverTlsOptions(server), (socket) => {
    seen.push(peerKey(socket)?.spki);
    socket.on("error", () => undefined);
    socket.on("data", (data: Buffer) => got.push(data));
    socket.write("hello");
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const sockets = new Set<net.Socket>();
  listener.on("connection", (socket: net.Socket) => sockets.add(socket));
  atEnd(t, () => {
    for (const socket of sockets) socket.destroy();
    listener.close();
  });
  return { port: (listener.address() as net.AddressInfo).port, seen, got };
}

test("both ends know each other's key", async (t) => {
  const { port, seen } = await start(t);
  const socket = await connectPinned({ host: "127.0.0.1", port, pins: [server.spki], identity: client });
  const [data] = (await once(socket, "data")) as [Buffer];
  assert.equal(String(data), "hello");
  assert.deepEqual(seen, [client.spki]);
  assert.equal(socket.getProtocol(), "TLSv1.3");
  socket.destroy();
});

test("while nobody speaks, the kernel of each end asks for the other", async (t) => {
  const { port } = await start(t);
  const socket = await connectPinned({ host: "127.0.0.1", port, pins: [server.spki], identity: client });
  await once(socket, "data");
  const own = socket.localPort ?? 0;
  const asksAfter = async (from: number, to: number, ms: number): Promise<void> => {
    const dueMs = await eventually("all is acknowledged", () => probeMs(from, to));
    assert.ok(dueMs > ms / 2 && dueMs <= ms, `asks in ${dueMs} ms`);
  };
  await asksAfter(own, port, ASK_AFTER_MS);
  await asksAfter(port, own, SERVER_ASKS_AFTER_MS);
  socket.destroy();
});

/** In how many ms TCP probes a connection on 127.0.0.1; undefined while another timer runs. See proc_net_tcp(5). */
function probeMs(from: number, to: number): number | undefined {
  const end = (at: number): string => `0100007F:${at.toString(16).toUpperCase().padStart(4, "0")}`;
  const lines = fs.readFileSync("/proc/net/tcp", "utf8").split("\n");
  const line = lines.find((one) => one.includes(`${end(from)} ${end(to)} `)) ?? "";
  const [, due] = / 02:([0-9A-F]{8}) /.exec(line) ?? [];
  return due === undefined ? undefined : Number.parseInt(due, 16) * 10;
}

test("a server with another key is refused before a byte is written to it", async (t) => {
  const { port, got } = await start(t);
  const pins = [ephemeralIdentity().spki];
  const refused = connectPinned({ host: "127.0.0.1", port, pins, identity: client });
  await assert.rejects(refused, {
    code: "PIN_MISMATCH",
    data: { address: `127.0.0.1:${port}`, got: server.spki, pins },
  });
  assert.deepEqual(got, []);
});

test("a session cannot be resumed, so nobody is taken for who was there before", async (t) => {
  const { port, seen } = await start(t);
  const open = { host: "127.0.0.1", port, rejectUnauthorized: false };
  const first = tls.connect({ ...open, ...client });
  const [session] = (await once(first, "session")) as [Buffer];
  first.destroy();
  const again = tls.connect({ ...open, session });
  await once(again, "data");
  assert.equal(again.isSessionReused(), false);
  again.destroy();
  assert.deepEqual(seen, [client.spki, undefined]);
});

test("TLS 1.2 is not spoken", async (t) => {
  const { port } = await start(t);
  const socket = tls.connect({
    host: "127.0.0.1",
    port,
    ...client,
    maxVersion: "TLSv1.2",
    rejectUnauthorized: false,
  });
  await assert.rejects(once(socket, "secureConnect"), /alert protocol version|unsupported protocol/i);
});

test("a key of another kind is nobody", async (t) => {
  const { port, seen } = await start(t);
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const key = privateKey.export({ type: "pkcs8", format: "pem" });
  const socket = tls.connect({ host: "127.0.0.1", port, key, rejectUnauthorized: false });
  await once(socket, "data");
  socket.destroy();
  assert.deepEqual(seen, [undefined]);
});

test("nobody listening is HUB_UNREACHABLE with the address", async () => {
  const probe = net.createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as net.AddressInfo;
  probe.close();
  await once(probe, "close");
  const attempt = connectPinned({ host: "127.0.0.1", port, pins: [server.spki], identity: client });
  await assert.rejects(attempt, { code: "HUB_UNREACHABLE", data: { address: `127.0.0.1:${port}` } });
});

test("no server is given up on for time in which this thread was held still", async (t) => {
  const { port } = await start(t);
  const options = { host: "127.0.0.1", port, pins: [server.spki], identity: client, timeoutMs: 300 };
  const attempt = connectPinned(options);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400);
  (await attempt).destroy();
});

test("a server that never shakes hands is given up on", async (t) => {
  const mute = net.createServer((socket) => atEnd(t, () => socket.destroy())).listen(0, "127.0.0.1");
  atEnd(t, () => mute.close());
  await once(mute, "listening");
  const { port } = mute.address() as net.AddressInfo;
  const options = { host: "127.0.0.1", port, pins: [server.spki], identity: client };
  await assert.rejects(connectPinned({ ...options, timeoutMs: 50 }), { code: "HUB_UNREACHABLE" });
  const stop = new AbortController();
  const attempt = connectPinned({ ...options, signal: stop.signal });
  stop.abort(new Error("enough"));
  await assert.rejects(attempt, /enough/);
});

test("a line that is full, on which a handshake takes six seconds, is no dead one (long)", async (t) => {
  const { port } = await start(t);
  const slow = net.createServer((socket) => {
    const onward = net.connect(port, "127.0.0.1");
    for (const one of [socket, onward]) one.on("error", () => undefined);
    setTimeout(() => socket.pipe(onward).pipe(socket), 6000);
    atEnd(t, () => [socket, onward].forEach((one) => one.destroy()));
  });
  slow.listen(0, "127.0.0.1");
  atEnd(t, () => slow.close());
  await once(slow, "listening");
  const at = { host: "127.0.0.1", port: (slow.address() as net.AddressInfo).port };
  (await connectPinned({ ...at, pins: [server.spki], identity: client })).destroy();
});

test("each address of a name has time for a first packet that is lost", async (t) => {
  const { port } = await start(t);
  const connect = t.mock.method(tls, "connect");
  (await connectPinned({ host: "localhost", port, pins: [server.spki], identity: client })).destroy();
  const [options] = (connect.mock.calls[0]?.arguments ?? []) as readonly net.TcpSocketConnectOpts[];
  assert.ok((options?.autoSelectFamilyAttemptTimeout ?? 0) >= 1500);
});

test("a resolver that says nothing is told from a server that says nothing", async (t) => {
  t.mock.method(dns, "lookup", () => undefined);
  const options = { host: "hub.example", port: 1, pins: [server.spki], identity: client, timeoutMs: 40 };
  await assert.rejects(connectPinned(options), {
    code: "HUB_UNREACHABLE",
    message: "hub.example:1: the resolver found no address within 40 ms",
  });
});
