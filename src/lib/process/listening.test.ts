import assert from "node:assert/strict";
import net from "node:net";
import { test } from "node:test";
import { atEnd } from "../testing/at-end.fixture.ts";
import { listening } from "./listening.ts";

test("who cannot listen is told what the machine lacks", async (t) => {
  const server = net.createServer();
  atEnd(t, () => server.close());
  await listening("it", server, { host: "127.0.0.1", port: 0 });
  const { port } = server.address() as net.AddressInfo;
  const taken = listening("another", net.createServer(), { host: "127.0.0.1", port });
  await assert.rejects(taken, {
    code: "PORT_TAKEN",
    message: /^another cannot listen on 127\.0\.0\.1:\d+: /,
  });
  const elsewhere = listening("it", net.createServer(), { host: "192.0.2.1", port: 0 });
  await assert.rejects(elsewhere, {
    code: "IO",
    message: /EADDRNOTAVAIL/,
    hint: /no such address, or not yet/,
  });
});
