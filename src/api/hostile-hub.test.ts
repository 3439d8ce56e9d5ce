/** A hub of the charter that was taken over: it holds the right key and answers what it likes. */
import assert from "node:assert/strict";
import { once } from "node:events";
import type http from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import test, { type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import { jsonOf } from "../trust/connection/http-client.ts";
import { ephemeralIdentity, serverTlsOptions } from "../trust/connection/tls.ts";
import type { HubAddress } from "./hub-address.ts";
import { HubClient } from "./hub-client.ts";

const INFO = {
  cluster: null,
  incarnation: "1",
  version: "0",
  charterVersion: 0,
  catchingUp: false,
};

async function hubThat(t: TestContext, answer: http.RequestListener): Promise<HubAddress> {
  const identity = ephemeralIdentity();
  const server = https.createServer(serverTlsOptions(identity), answer);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  atEnd(t, () => {
    server.close();
    server.closeAllConnections();
  });
  return { spki: identity.spki, address: `127.0.0.1:${(server.address() as AddressInfo).port}` };
}

function clientOf(t: TestContext, ...hubs: HubAddress[]): HubClient {
  const client = new HubClient({ hubs, identity: ephemeralIdentity() });
  atEnd(t, () => client.close());
  return client;
}

const honest: http.RequestListener = (_req, res) => void res.end(JSON.stringify(INFO));

async function endless(res: http.ServerResponse, piece: string, everyMs: number): Promise<void> {
  while (!res.destroyed) {
    res.write(piece);
    await sleep(everyMs);
  }
}

test("an answer without end is cut at its bound", async (t) => {
  const hub = await hubThat(t, (_req, res) => void endless(res, " ".repeat(64 * 1024), 1));
  using client = clientOf(t, hub);
  const response = await client.raw({ method: "GET", path: "/" });
  await assert.rejects(jsonOf(response, { maxBytes: 1_000_000 }), { code: "DOC_TOO_BIG" });
  assert.equal(response.destroyed, true);
});

test("an answer that drips is cut, however long it goes on dripping", async (t) => {
  const hub = await hubThat(t, (_req, res) => void endless(res, " ", 5));
  using client = clientOf(t, hub);
  const response = await client.raw({ method: "GET", path: "/" });
  await assert.rejects(jsonOf(response, { graceMs: 200 }), { code: "HUB_UNREACHABLE" });
  assert.equal(response.destroyed, true);
});

test("a hub that answers nonsense is asked last from then on", async (t) => {
  let lies = 0;
  const liar = await hubThat(t, (_req, res) => {
    lies += 1;
    res.end(lies === 1 ? "[" : '{"incarnation": 1}');
  });
  using client = clientOf(t, liar, await hubThat(t, honest));
  await assert.rejects(client.hub(), { code: "HUB_UNREACHABLE" });
  assert.equal((await client.hub()).incarnation, "1");
  assert.equal(lies, 1);
  using second = clientOf(t, liar, await hubThat(t, honest));
  await assert.rejects(second.hub(), { code: "BAD_REQUEST" });
  assert.equal((await second.hub()).incarnation, "1");
});

test("a streamed body that a lost hub had a part of is not sent to the next hub", async (t) => {
  const sent = Buffer.alloc(4 * 2 ** 20, 7);
  const lost = await hubThat(t, (req) => void req.once("data", () => req.socket.destroy()));
  let came = 0;
  const next = await hubThat(t, (req, res) => {
    req.on("data", (piece: Buffer) => (came += piece.length));
    req.on("end", () => res.end("{}"));
  });
  using client = clientOf(t, lost, next);
  const put = async (): Promise<unknown> =>
    await client.raw({ method: "PUT", path: "/", body: Readable.from(pieces(sent), { objectMode: false }) });
  await assert.rejects(put(), { code: "HUB_UNREACHABLE", data: { address: lost.address } });
  assert.equal(came, 0);
  await put();
  assert.equal(came, sent.length, "and who begins anew is heard by the other one");
});

function* pieces(bytes: Buffer, size = 64 * 1024): Generator<Buffer, void> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

test("an etag that no header can carry is not taken: it would break every later request", async (t) => {
  const ticket = { t: "ticket.1", p: "", s: [] };
  const wanted = {
    etag: "a\r\nb",
    incarnation: "1",
    catchingUp: false,
    duplicate: false,
    charters: [],
    identity: { ticket, enrol: ticket, label: null, revoke: null },
    apps: [],
    commands: [],
    lastReceipts: [],
  };
  const hub = await hubThat(t, (_req, res) => void res.end(JSON.stringify(wanted)));
  using client = clientOf(t, hub);
  await assert.rejects(client.wanted(undefined, 0), { code: "BAD_REQUEST" });
});

const envelope = { t: "command.1", p: "", s: [] };

async function said(client: HubClient): Promise<object[]> {
  const lines: object[] = [];
  for await (const line of client.command(envelope, new AbortController().signal)) lines.push(line);
  return lines;
}

test("a node does not end the answers of others by speaking as the hub does", async (t) => {
  const node = "a".repeat(32);
  const error = { code: "REVOKED", message: "all is over" };
  const lines = [
    { node, type: "line", error },
    { node: "b".repeat(32), type: "result", ok: true },
  ];
  const hub = await hubThat(
    t,
    (_req, res) => void res.end(lines.map((line) => JSON.stringify(line)).join("\n")),
  );
  using client = clientOf(t, hub);
  assert.deepEqual(await said(client), lines);
  const ended = await hubThat(t, (_req, res) => void res.end(JSON.stringify({ error })));
  using other = clientOf(t, ended);
  await assert.rejects(said(other), { code: "REVOKED", message: "all is over" });
});

test("a line that is none of the stream's is the hub's fault, and no defect of this program", async (t) => {
  const hub = await hubThat(t, (_req, res) => void res.end('{"node": 1}\n'));
  using client = clientOf(t, hub);
  await assert.rejects(said(client), {
    code: "BAD_REQUEST",
    message: /in a form this version does not read/,
  });
});
