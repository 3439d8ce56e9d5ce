import assert from "node:assert/strict";
import { once } from "node:events";
import { PassThrough } from "node:stream";
import test, { type TestContext } from "node:test";
import tls from "node:tls";
import { setTimeout as sleep } from "node:timers/promises";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { silentLog } from "../../lib/process/log.ts";
import { ephemeralIdentity } from "../../trust/connection/tls.ts";
import { joinNode, keyClient, startTestHub, type TestHub } from "../hub.fixture.ts";
import { Strangers } from "../../trust/connection/strangers.ts";

/** Long enough for whoever is at it to be known, also where a core is shared with others. */
const STRANGER_MS = 1500;

async function connected(
  t: TestContext,
  hub: TestHub,
): Promise<{ socket: tls.TLSSocket; closed: Promise<void> }> {
  const { key, cert } = ephemeralIdentity();
  const socket = tls.connect({ host: "127.0.0.1", port: hub.port, key, cert, rejectUnauthorized: false });
  atEnd(t, () => socket.destroy());
  socket.on("error", () => undefined);
  // By whichever way: one that writes in that very moment is reset.
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  socket.resume();
  await Promise.race([once(socket, "secureConnect").catch(() => undefined), closed]);
  return { socket, closed };
}

test("who says nothing, or says it a byte at a time, is not waited for", async (t) => {
  const hub = await startTestHub(t, { strangerMs: STRANGER_MS });
  const [silent, slow] = [await connected(t, hub), await connected(t, hub)];
  slow.socket.write("POST /v1/enrol HTTP/1.1\r\nhost: hub\r\ncontent-length: 100000\r\n\r\n");
  const drip = setInterval(() => slow.socket.write(" "), 20);
  atEnd(t, () => clearInterval(drip));
  await Promise.all([silent.closed, slow.closed]);
  clearInterval(drip);
});

test("who is known keeps its connection, and strangers may come back (long)", async (t) => {
  const hub = await startTestHub(t, { strangerMs: STRANGER_MS });
  const node = await joinNode(t, hub, "web1");
  const first = await node.client.wanted(undefined, 0);
  assert.equal(
    await node.client.wanted(first?.etag, 2 * STRANGER_MS),
    undefined,
    "the poll waited to its end",
  );
  using stranger = keyClient(hub.cluster, hub.address);
  assert.equal((await stranger.hub()).charterVersion, 1);
  await sleep(1.5 * STRANGER_MS);
  assert.equal((await stranger.hub()).charterVersion, 1);
});

test("of too many strangers the oldest goes, of the same address first", () => {
  const strangers = new Strangers({ graceMs: 60_000, perAddress: 512, inAll: 4096 });
  const sockets = Array.from({ length: 700 }, () => new PassThrough());
  const [lonely] = sockets;
  for (const [n, socket] of sockets.entries()) strangers.came(socket, n === 0 ? "10.0.0.1" : "10.0.0.2");
  assert.equal(lonely?.destroyed, false);
  assert.equal(sockets[1]?.destroyed, true);
  assert.equal(sockets.filter((socket) => !socket.destroyed).length, 513);
  for (const socket of sockets) strangers.known(socket);
});

test("a bad session counts as a stranger's request", async (t) => {
  const hub = await startTestHub(t, { anonymousPerSec: 1 });
  using client = keyClient(hub.cluster, hub.address);
  const codes = new Set<string>();
  for (let n = 0; n < 130; n++) {
    await client
      .raw({ method: "GET", path: "/v1/apps", headers: { "skein-session": "bm9uZQ" } })
      .catch((err: unknown) => codes.add((err as { code: string }).code));
  }
  assert.equal(codes.has("TOO_MANY"), true, [...codes].join(" "));
});

test("a request for no path is refused, and the log is not written full by it", async (t) => {
  const said: string[] = [];
  const log = { ...silentLog, error: (msg: string) => void said.push(msg) };
  const hub = await startTestHub(t, { log });
  for (const target of ["//", "http://[", "*", "http://elsewhere/v1/hub"]) {
    const { socket, closed } = await connected(t, hub);
    let answer = "";
    socket.on("data", (data: Buffer) => (answer += data.toString()));
    socket.write(`GET ${target} HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n\r\n`);
    await closed;
    assert.match(answer, /^HTTP\/1\.1 40[04] /, target);
  }
  assert.deepEqual(said, []);
});
