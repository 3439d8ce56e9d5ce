import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import { clientConnections, steadyConnections } from "./connections.ts";
import { tcp } from "./keeper.fixture.ts";
import { signalGroup } from "./proc.ts";
import { HeldSockets } from "./sockets.ts";

test("a connection is found whoever of the group holds it, also when its first process is gone", async (t) => {
  const server = net.createServer().listen(0, "127.0.0.1");
  atEnd(t, () => server.close());
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  const client = net.connect(port, "127.0.0.1");
  atEnd(t, () => client.destroy());
  const [accepted] = (await once(server, "connection")) as [net.Socket];
  // The shell holds no connection; the one below it does, and stays when the shell is told to go.
  const script = "sleep 60 0<&3 & exec 3<&-; echo; read _";
  const leader = spawn("/bin/sh", ["-c", script], {
    detached: true,
    stdio: ["pipe", "pipe", "ignore", accepted],
  });
  const group = leader.pid ?? 0;
  atEnd(t, () => signalGroup(group, "SIGKILL"));
  const side = { ports: new Set([port]), paths: new Set<string>() };
  await once(leader.stdout as NodeJS.ReadableStream, "data");
  assert.equal(clientConnections(group, side).size, 1);
  (leader.stdin as NodeJS.WritableStream).end("\n");
  await once(leader, "exit");
  assert.equal(clientConnections(group, side).size, 1);
  assert.equal(steadyConnections(group, side)?.size, 1);
  assert.equal(clientConnections(group, { ...side, ports: new Set([port + 1]) }).size, 0);
});

test("a group that is gone says nothing of the connections that it had", async (t) => {
  const server = net.createServer().listen(0, "127.0.0.1");
  atEnd(t, () => server.close());
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  // It holds an accepted connection, as a server does.
  const client = net.connect(port, "127.0.0.1");
  atEnd(t, () => client.destroy());
  const [accepted] = (await once(server, "connection")) as [net.Socket];
  const holder = spawn("sleep", ["60"], { detached: true, stdio: ["ignore", "ignore", "ignore", accepted] });
  atEnd(t, () => holder.kill("SIGKILL"));
  await once(holder, "spawn");
  const side = { ports: new Set([port]), paths: new Set<string>() };
  const group = holder.pid ?? 0;
  assert.equal(clientConnections(group, side).size, 1);
  assert.equal(steadyConnections(group, side)?.size, 1);
  holder.kill("SIGKILL");
  await once(holder, "exit");
  assert.equal(clientConnections(group, side).size, 0);
  assert.equal(steadyConnections(group, side), undefined, "it did not let go of them before it ended");
});

for (const protocol of ["tcp", "unix"] as const) {
  test(`only a connection counts by ${protocol}, and not what is listened on`, async (t) => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), "kc-"));
    atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
    const held = new HeldSockets();
    const file = protocol === "unix" ? path.join(dir, "web.sock") : null;
    const view = held.listen(tcp({ protocol, path: file }));
    const server = net.createServer().listen({ fd: view.fd });
    atEnd(t, () => server.close());
    const client = file === null ? net.connect(view.port, "127.0.0.1") : net.connect(file);
    atEnd(t, () => client.destroy());
    const [accepted] = (await once(server, "connection")) as [net.Socket];
    const has = async (...stdio: readonly (net.Socket | number)[]): Promise<number> => {
      const holder = spawn("sleep", ["60"], {
        detached: true,
        stdio: ["ignore", "ignore", "ignore", ...stdio],
      });
      atEnd(t, () => holder.kill("SIGKILL"));
      await once(holder, "spawn");
      return holder.pid ?? 0;
    };
    const [listening, both] = [await has(view.fd), await has(view.fd, accepted)];
    const side = { ports: new Set([view.port]), paths: new Set(view.path === null ? [] : [view.path]) };
    assert.deepEqual([clientConnections(listening, side).size, clientConnections(both, side).size], [0, 1]);
    assert.equal(steadyConnections(both, side)?.size, 1);
    const elsewhere = { ports: new Set([view.port + 1]), paths: new Set([`${file}2`]) };
    assert.equal(clientConnections(both, elsewhere).size, 0);
  });
}
