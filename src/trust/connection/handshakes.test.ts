import assert from "node:assert/strict";
import { once } from "node:events";
import https from "node:https";
import net, { type AddressInfo } from "node:net";
import test from "node:test";
import type tls from "node:tls";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";
import { boundHandshakes } from "./handshakes.ts";
import { connectPinned, ephemeralIdentity, serverTlsOptions } from "./tls.ts";

test("who opens connections and begins no handshake leaves room for others", async (t) => {
  const identity = ephemeralIdentity();
  const server = https.createServer(serverTlsOptions(identity));
  server.maxConnections = 10;
  boundHandshakes(server, { perAddress: 4, inAll: 100 });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  atEnd(t, () => server.close());
  const { port } = server.address() as AddressInfo;
  const connect = async (): Promise<tls.TLSSocket> => {
    const socket = await connectPinned({ host: "127.0.0.1", port, pins: [identity.spki], identity });
    atEnd(t, () => socket.destroy());
    return socket;
  };
  const first = await connect();
  const silent = Array.from({ length: 20 }, () => net.connect(port, "127.0.0.1"));
  atEnd(t, () => {
    for (const socket of silent) socket.destroy();
  });
  for (const socket of silent) socket.on("error", () => undefined).resume();
  await eventually("all but a few are ended", () => silent.filter((socket) => socket.closed).length === 16);
  const others = [await connect(), await connect(), await connect(), await connect()];
  assert.ok(
    [first, ...others].every((socket) => !socket.destroyed),
    "those who came through it count no more",
  );
});
