import assert from "node:assert/strict";
import { once } from "node:events";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { ephemeralIdentity, serverTlsOptions } from "../../trust/connection/tls.ts";
import { PeerClient } from "./peer-client.ts";
import { ENDS_HEADER, WAITED_HEADER } from "./peer-wire.ts";

test("a peer that says no number of ms for which it had to wait did not wait", async (t) => {
  const identity = ephemeralIdentity();
  const told = ["later", "-1", "Infinity", "12"];
  const server = https.createServer(serverTlsOptions(identity), (_req, res) => {
    res.writeHead(200, { "content-length": 1, [ENDS_HEADER]: "1", [WAITED_HEADER]: told[0] }).end("a");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const client = new PeerClient(ephemeralIdentity());
  atEnd(t, () => {
    client[Symbol.dispose]();
    server.close();
    server.closeAllConnections();
  });
  const place = { host: "127.0.0.1", port, spki: identity.spki };
  const want = { name: "packs/a", start: 0, end: 1 };
  const options = { held: false, patienceMs: () => 45_000, signal: t.signal };
  const waited: number[] = [];
  for (; told.length > 0; told.shift())
    waited.push((await client.ask("peer", place, want, options)).waitedMs);
  assert.deepEqual(waited, [0, 0, 0, 12]);
});
