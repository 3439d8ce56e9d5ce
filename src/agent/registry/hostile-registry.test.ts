/** Any process of the machine can connect to the registry: what it takes of the agent is bounded. */
import assert from "node:assert/strict";
import net from "node:net";
import test, { type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import type { KeyId, ReleaseId } from "../../lib/text/ids.ts";
import { silentLog } from "../../lib/process/log.ts";
import { serveRegistry, serviceTable } from "./registry.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";
import { PATIENCE_MS } from "../../lib/testing/patience.fixture.ts";

const caller = { app: "shop", env: "prod", release: "a".repeat(32) as ReleaseId, uses: [] };

async function registry(t: TestContext, limits: object) {
  const table = serviceTable("0".repeat(32) as KeyId);
  const callerOf = (capability: string) => (capability.startsWith("cap") ? caller : undefined);
  const server = await serveRegistry({ table, callerOf, log: silentLog, ...limits });
  atEnd(t, async () => await server[Symbol.asyncDispose]());
  return server;
}

test("idle connections are bounded, and end soon when they say nothing", async (t) => {
  const { port } = await registry(t, { maxConnections: 20, silentMs: 300 });
  const sockets = Array.from({ length: 60 }, () => net.connect(port, "127.0.0.1"));
  atEnd(t, () => sockets.forEach((socket) => socket.destroy()));
  const closings = sockets.map(async (socket) => {
    socket.on("error", () => undefined);
    socket.resume();
    await new Promise((resolve) => socket.once("close", resolve));
  });
  const late = new Promise((_resolve, reject) => {
    setTimeout(() => reject(new Error("a silent connection stayed")), PATIENCE_MS).unref();
  });
  await Promise.race([Promise.all(closings), late]);
  // One that is late with its words is closed, too.
  const ask = async (): Promise<unknown> =>
    await (await fetch(`http://127.0.0.1:${port}/cap1/services`)).json();
  assert.deepEqual(await eventually("an answer", ask), []);
});

test("one caller's waits are bounded, and another caller still waits", async (t) => {
  const { port } = await registry(t, { maxWaits: 5 });
  const gone = new AbortController();
  atEnd(t, () => gone.abort());
  const url = (capability: string): string => `http://127.0.0.1:${port}/${capability}/services/db?wait=30s`;
  const ask = async (capability: string): Promise<number> =>
    (await fetch(url(capability), { signal: gone.signal })).status;
  const waiting = Array.from({ length: 5 }, () => ask("cap1").catch(() => 0));
  const statuses: number[] = [];
  for (let tries = 0; tries < 100 && !statuses.includes(429); tries++) {
    const late = fetch(url("cap1"), { signal: AbortSignal.any([gone.signal, AbortSignal.timeout(1000)]) });
    statuses.push(await late.then((response) => response.status).catch(() => 0));
  }
  assert.equal(statuses.includes(429), true);
  const other = ask("cap2").catch(() => 0);
  assert.equal(
    await Promise.race([other, new Promise((resolve) => setTimeout(resolve, 200, "waits"))]),
    "waits",
  );
  gone.abort();
  await Promise.all([...waiting, other]);
});
