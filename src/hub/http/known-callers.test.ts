import assert from "node:assert/strict";
import { once } from "node:events";
import type http from "node:http";
import { PassThrough } from "node:stream";
import test, { type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import type { HubClient } from "../../api/hub-client.ts";
import type { KeyId } from "../../lib/text/ids.ts";
import { readUnverified, seal } from "../../trust/document/envelope.ts";
import { generateSigner } from "../../trust/keys/keys.ts";
import {
  at,
  charterWithOperator,
  joinNode,
  operatorClient,
  startTestHub,
  type TestHub,
} from "../hub.fixture.ts";
import { KnownCallers } from "../../trust/connection/known-callers.ts";

/** A stream of changes that stays open, and its end, by whichever way. */
async function streamOf(
  t: TestContext,
  client: HubClient,
): Promise<{ readonly stream: http.IncomingMessage; readonly closed: Promise<unknown> }> {
  const stream = await client.raw({ method: "GET", path: "/v1/events?from=0", signal: t.signal });
  atEnd(t, () => stream.destroy());
  stream.on("error", () => undefined).resume();
  return { stream, closed: new Promise((resolve) => stream.once("close", resolve)) };
}

async function revoke({ client, cluster }: TestHub, node: KeyId): Promise<void> {
  const body = { cluster: cluster.id, node, reason: "stolen", issued: at() };
  const { operator } = cluster;
  const envelope = await seal("revoke.1", body, [operator]);
  await client.call("postRevocation", { body: { revoke: envelope } });
}

test("a node that is revoked is told nothing more, also by a stream that is open", async (t) => {
  const hub = await startTestHub(t);
  const [gone, stays] = [await joinNode(t, hub, "web1"), await joinNode(t, hub, "web2")];
  const [ended, open] = [await streamOf(t, gone.client), await streamOf(t, stays.client)];
  await revoke(hub, gone.kid);
  await ended.closed;
  assert.equal(open.stream.destroyed, false);
  await assert.rejects(gone.client.nodes(), { code: "REVOKED" });
});

test("an operator whom a charter drops is told nothing more either", async (t) => {
  const hub = await startTestHub(t);
  const key = generateSigner();
  const second = await charterWithOperator(hub.cluster, key, ["deploy:blog/default"]);
  await hub.client.postCharter(second);
  const bob = await operatorClient(hub.cluster, hub.address, key);
  atEnd(t, () => bob.close());
  const [ended, open] = [await streamOf(t, bob), await streamOf(t, hub.client)];
  const [before, first] = [second, hub.cluster.charter].map((one) => readUnverified(one, "charter.1"));
  assert.ok(before !== undefined && first !== undefined);
  const third = { ...before, version: 3, issued: at(), keys: first.keys, operators: first.operators };
  await hub.client.postCharter(await seal("charter.1", third, [hub.cluster.operator]));
  await ended.closed;
  assert.equal(open.stream.destroyed, false);
});

test("of too many connections of one key the oldest goes, and others keep theirs", async () => {
  const members = new KnownCallers<KeyId>(3);
  const [one, two] = ["1", "2"].map((digit) => digit.repeat(32) as KeyId);
  assert.ok(one !== undefined && two !== undefined);
  const other = new PassThrough();
  members.came(two, other);
  const sockets = Array.from({ length: 5 }, () => new PassThrough());
  for (const socket of sockets) {
    members.came(one, socket);
    members.came(one, socket);
    if (socket.destroyed || sockets.indexOf(socket) < 3) continue;
    await once(sockets[sockets.indexOf(socket) - 3] as PassThrough, "close");
  }
  assert.deepEqual(
    sockets.map((socket) => socket.destroyed),
    [true, true, false, false, false],
  );
  assert.equal(other.destroyed, false);
});
