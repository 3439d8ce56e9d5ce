import assert from "node:assert/strict";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import { Audience } from "./server.ts";

test("a listener that stands still is dropped, one that reads goes on", async (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "kp-"));
  const file = path.join(dir, "s");
  const audience = new Audience();
  const served: net.Socket[] = [];
  const server = net.createServer((socket) => {
    served.push(socket);
    audience.add(socket);
  });
  const clients: net.Socket[] = [];
  atEnd(t, () => {
    for (const socket of [...clients, ...served]) socket.destroy();
    server.close();
    fs.rmSync(dir, { recursive: true, force: true });
  });
  server.listen(file);
  await once(server, "listening");
  for (let n = 0; n < 2; n++) {
    const client = net.connect(file);
    clients.push(client);
    await once(server, "connection");
  }
  const [still, reading] = served;
  assert.ok(still && reading);
  clients[0]?.pause();
  clients[1]?.resume();
  const line = "x".repeat(100_000);
  let most = 0;
  for (let n = 0; n < 200; n++) {
    audience.tell({ type: "status", key: "app/1/web.1", line });
    most = Math.max(most, still.writableLength);
    if (n % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
    while (reading.writableLength > 0) await once(reading, "drain");
  }
  assert.ok(still.destroyed);
  assert.ok(most < 9 * 2 ** 20, `${most} bytes waited`);
  assert.equal(reading.destroyed, false);
});
