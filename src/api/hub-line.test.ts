import assert from "node:assert/strict";
import type http from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { test, type TestContext } from "node:test";
import { listening } from "../lib/process/listening.ts";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import { systemClock } from "../lib/time/clock.ts";
import { ephemeralIdentity, serverTlsOptions } from "../trust/connection/tls.ts";
import type { HubAddress } from "./hub-address.ts";
import { HubLine, type Patience } from "./hub-line.ts";

/** A hub that answers with this, or hangs up. @param heard given the methods of its requests */
async function hub(
  t: TestContext,
  heard: string[],
  answer?: (res: http.ServerResponse) => void,
): Promise<HubAddress> {
  const identity = ephemeralIdentity();
  const server = https.createServer(serverTlsOptions(identity), (req, res) => {
    heard.push(req.method ?? "");
    if (answer === undefined) req.socket.destroy();
    else answer(res);
  });
  await listening("the test", server, { host: "127.0.0.1", port: 0 });
  atEnd(t, () => {
    server.close();
    server.closeAllConnections();
  });
  return { spki: identity.spki, address: `127.0.0.1:${(server.address() as AddressInfo).port}` };
}

const POST = { method: "POST", path: "/v1/orders", body: "{}" };
const patience: Patience = {
  ms: 1000,
  clock: { ...systemClock, sleep: async () => undefined },
  onWait: () => undefined,
};

test("what a hub answers is the answer: no other one is asked, whatever it says", async (t) => {
  const heard: string[] = [];
  const refuse = (res: http.ServerResponse): void =>
    void res.writeHead(409).end(JSON.stringify({ error: { code: "HEAD_MOVED", message: "moved" } }));
  const hubs = [await hub(t, heard, refuse), await hub(t, heard, refuse)];
  using line = new HubLine({ hubs, identity: ephemeralIdentity(), patience });
  await assert.rejects(line.send(POST), { code: "HEAD_MOVED" });
  assert.deepEqual(heard, ["POST"]);
});

test("a hub that was cut off is not the last to be asked, but a body that is a stream is begun once", async (t) => {
  const heard: string[] = [];
  const hubs = [await hub(t, heard), await hub(t, heard)];
  using line = new HubLine({ hubs, identity: ephemeralIdentity() });
  await assert.rejects(line.send(POST), { code: "HUB_UNREACHABLE" });
  assert.equal(heard.length, 2);
  const body = Readable.from([Buffer.from("{"), Buffer.from("}")]);
  await assert.rejects(line.send({ ...POST, body }), { code: "HUB_UNREACHABLE" });
  assert.equal(heard.length, 3);
});

test("where one hub may have heard it, that another was not reached is no reason to send it again", async (t) => {
  const heard: string[] = [];
  const gone = { ...(await hub(t, [])), address: "127.0.0.1:1" };
  using line = new HubLine({ hubs: [await hub(t, heard), gone], identity: ephemeralIdentity(), patience });
  await assert.rejects(line.send(POST), { code: "HUB_UNREACHABLE" });
  assert.deepEqual(heard, ["POST"]);
});
