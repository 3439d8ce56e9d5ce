import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import net, { type AddressInfo } from "node:net";
import test from "node:test";
import { Worker } from "node:worker_threads";
import type { Check } from "../../app/manifest.ts";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { runCheck, type CheckContext } from "./checks.ts";

test("a check by TCP hears a server out that speaks first, and resets nothing", async (t) => {
  const ends: string[] = [];
  const server = net.createServer((socket) => {
    socket.on("error", (err: NodeJS.ErrnoException) => ends.push(err.code ?? ""));
    socket.on("end", () => ends.push("end"));
    socket.resume().end(Buffer.alloc(4 * 1024 * 1024)); // more than any buffer on the way takes
    socket.on("close", () => server.emit("over"));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  atEnd(t, () => server.close());
  const { port } = server.address() as AddressInfo;
  const address = { name: "mail", protocol: "tcp", host: "127.0.0.1", port, path: null } as const;
  const over = once(server, "over");
  const context = { addresses: [address], clock: systemClock, signal: t.signal } as unknown as CheckContext;
  assert.equal(await runCheck({ type: "tcp", socket: "mail" }, context), null);
  await over;
  assert.deepEqual(ends, ["end"]);
});

test("an answer without end that a check by HTTP gets is not listened to for ever (long)", async (t) => {
  const server = http.createServer((_, response) => {
    const more = setInterval(() => response.write("and on"), 50);
    response.on("close", () => {
      clearInterval(more);
      server.emit("over");
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  atEnd(t, () => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const address = { name: "web", protocol: "http", host: "127.0.0.1", port, path: null } as const;
  const context = { addresses: [address], clock: systemClock, signal: t.signal } as unknown as CheckContext;
  const over = once(server, "over", { signal: AbortSignal.timeout(15_000) });
  assert.equal(await runCheck({ type: "http", socket: "web", path: "/", tls: false }, context), null);
  await over;
});

test("a status from 200 to 399 passes by HTTP, and what else comes is said", async (t) => {
  const server = http.createServer((request, response) => {
    if (request.url === "/none") request.socket.destroy();
    else response.writeHead(Number(request.url?.slice(1))).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  atEnd(t, () => server.close());
  const { port } = server.address() as AddressInfo;
  const address = { name: "web", protocol: "http", host: "127.0.0.1", port, path: null } as const;
  const context = { addresses: [address], clock: systemClock, signal: t.signal } as unknown as CheckContext;
  const asked = async (path: string, socket = "web"): Promise<string | null> =>
    await runCheck({ type: "http", socket, path, tls: false }, context);
  assert.deepEqual([await asked("/200"), await asked("/399")], [null, null]);
  assert.deepEqual(
    [await asked("/400"), await asked("/503"), await asked("/none"), await asked("/200", "admin")],
    ["/400 answered 400", "/503 answered 503", "/none: ECONNRESET", "there is no socket admin"],
  );
});

for (const type of ["http", "tcp"] as const) {
  test(`an answer by ${type} that came while the agent was stopped is in time (long)`, async (t) => {
    const answering = `
      const { parentPort } = require("worker_threads");
      const server = require("http").createServer((q, r) => {
        parentPort.postMessage("asked");
        setTimeout(() => r.end("well"), 500);
      });
      server.listen(0, "127.0.0.1", () => parentPort.postMessage(server.address().port));`;
    const worker = new Worker(answering, { eval: true });
    atEnd(t, async () => await worker.terminate());
    const [port] = (await once(worker, "message")) as [number];
    const address = { name: "web", protocol: "http", host: "127.0.0.1", port, path: null } as const;
    const context = { addresses: [address], clock: systemClock, signal: t.signal } as unknown as CheckContext;
    const check = { type, socket: "web", path: "/", tls: false } as unknown as Check;
    const outcome = runCheck(check, context);
    if (type === "http") await once(worker, "message");
    // This thread is the agent's. As it does for a process that was stopped, its loop looks at timers first then.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5500);
    assert.equal(await outcome, null);
  });
}
