import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import test, { type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";
import type { KeyId, ReleaseId } from "../../lib/text/ids.ts";
import { silentLog } from "../../lib/process/log.ts";
import { serveRegistry, serviceTable, type Caller, type Service, type ServiceTable } from "./registry.ts";

const SELF = "0".repeat(32) as KeyId;
const OTHER = "1".repeat(32) as KeyId;
const [V1, V2] = ["a".repeat(32) as ReleaseId, "b".repeat(32) as ReleaseId];
const service = (of: Partial<Service> = {}): Service => ({
  app: "shop",
  env: "prod",
  release: V1,
  name: "say",
  host: "127.0.0.1",
  port: 20_001,
  node: "n0",
  nodeId: SELF,
  instance: "say.1",
  current: false,
  ...of,
});
const CALLERS: Readonly<Record<string, Caller>> = {
  one: { app: "shop", env: "prod", release: V1, uses: [] },
  two: { app: "shop", env: "prod", release: V2, uses: ["chat.say"] },
};

async function open(
  t: TestContext,
): Promise<{ table: ServiceTable; get: (path: string) => Promise<Response> }> {
  const table = serviceTable(SELF);
  const server = await serveRegistry({ table, callerOf: (cap) => CALLERS[cap], log: silentLog });
  atEnd(t, async () => server[Symbol.asyncDispose]());
  return { table, get: async (path) => fetch(`http://127.0.0.1:${server.port}${path}`) };
}

test("a caller finds the services of its own release, on every node", async (t) => {
  const { table, get } = await open(t);
  table.setLocal([service(), service({ release: V2, instance: "say.2" })]);
  table.setRemote([service({ node: "n1", nodeId: OTHER, host: "10.0.0.2", instance: "say.1" })]);
  const found = await (await get("/one/services/say")).json();
  assert.deepEqual(found, [
    { name: "say", host: "127.0.0.1", port: 20_001, release: V1, node: "n0", instance: "say.1" },
    { name: "say", host: "10.0.0.2", port: 20_001, release: V1, node: "n1", instance: "say.1" },
  ]);
  assert.equal(((await (await get("/one/services")).json()) as unknown[]).length, 2);
});

test("who asks before the callers are known waits for that, and is no stranger", async (t) => {
  const { promise: ready, resolve } = Promise.withResolvers<void>();
  const callers = new Map<string, Caller>();
  const callerOf = (capability: string): Caller | undefined => callers.get(capability);
  const server = await serveRegistry({ table: serviceTable(SELF), callerOf, ready, log: silentLog });
  atEnd(t, async () => server[Symbol.asyncDispose]());
  const asked = fetch(`http://127.0.0.1:${server.port}/one/services`);
  await fetch(`http://127.0.0.1:${server.port}/one/services`, { signal: AbortSignal.timeout(100) }).catch(
    () => undefined,
  );
  callers.set("one", { app: "shop", env: "prod", release: V1, uses: [] });
  resolve();
  assert.equal((await asked).status, 200);
});

test("no service yet is an empty list and 200; strange callers and paths are refused", async (t) => {
  const { get } = await open(t);
  const empty = await get("/one/services/say");
  assert.deepEqual([empty.status, await empty.json()], [200, []]);
  const answers = await Promise.all(
    [
      "/three/services",
      "/services",
      "/",
      "/one/other",
      "/one/services/a/b",
      "/one/services/say?wait=soon",
    ].map(async (path) => (await get(path)).status),
  );
  assert.deepEqual(answers, [403, 403, 403, 404, 404, 400]);
});

test("another app's service is found by app.process, only if the manifest asks and only while it is current", async (t) => {
  const { table, get } = await open(t);
  const chat = { app: "chat", current: true };
  table.setLocal([
    service({ ...chat, release: V1, instance: "old", current: false }),
    service({ ...chat, release: V2, instance: "new" }),
    service({ ...chat, name: "hear", instance: "unasked" }),
    service({ ...chat, env: "staging", instance: "elsewhere" }),
    service({ app: "mail", current: true, instance: "stranger" }),
    service({ release: V1, current: true, instance: "own app, other release" }),
  ]);
  table.setRemote([service({ ...chat, release: V2, nodeId: OTHER, node: "n1", instance: "far" })]);
  const found = async (path: string): Promise<unknown> =>
    ((await (await get(path)).json()) as { instance: string }[]).map(({ instance }) => instance);
  assert.deepEqual(await found("/two/services/chat.say"), ["new", "far"]);
  for (const name of ["say", "chat", "chat.hear", "mail.say", "chat.say.x"])
    assert.deepEqual(await found(`/two/services/${name}`), [], name);
  assert.deepEqual(await found("/one/services/chat.say"), []);
});

test("in the whole list another app's service goes by its full name", async (t) => {
  const { table, get } = await open(t);
  table.setLocal([service({ release: V2 }), service({ app: "chat", current: true })]);
  const all = (await (await get("/two/services")).json()) as { name: string }[];
  assert.deepEqual(
    all.map(({ name }) => name),
    ["say", "chat.say"],
  );
});

test("a caller that waits for another app's service is answered the moment it is current", async (t) => {
  const { table, get } = await open(t);
  const chat = service({ app: "chat" });
  table.setLocal([chat]);
  const waiting = get("/two/services/chat.say?wait=30s");
  table.setRemote([]);
  table.setLocal([{ ...chat, current: true }]);
  assert.equal(((await (await waiting).json()) as unknown[]).length, 1);
});

test("a waiting caller is answered the moment the service appears", async (t) => {
  const { table, get } = await open(t);
  const waiting = get("/one/services/say?wait=30s");
  table.setRemote([service({ release: V2, nodeId: OTHER })]);
  table.setLocal([service()]);
  assert.equal(((await (await waiting).json()) as unknown[]).length, 1);
});

test("a wait that ends in nothing is an empty list", async (t) => {
  const { get } = await open(t);
  assert.deepEqual(await (await get("/one/services/say?wait=50ms")).json(), []);
});

test("an instance that left is gone from the next answer, and the last remote table stands", async (t) => {
  const { table, get } = await open(t);
  table.setLocal([service()]);
  table.setRemote([service({ nodeId: OTHER, node: "n1", instance: "far" })]);
  table.setLocal([]);
  const seen = (await (await get("/one/services/say")).json()) as { instance: string }[];
  assert.deepEqual(
    seen.map(({ instance }) => instance),
    ["far"],
  );
});

test("a node's own instances are never taken from the table of others", async (t) => {
  const { table, get } = await open(t);
  table.setRemote([service({ nodeId: SELF })]);
  assert.deepEqual(await (await get("/one/services/say")).json(), []);
});

test("closing the registry ends callers that wait", async () => {
  const table = serviceTable(SELF);
  const server = await serveRegistry({ table, callerOf: (cap) => CALLERS[cap], log: silentLog });
  const waiting = fetch(`http://127.0.0.1:${server.port}/one/services/say?wait=30s`);
  await new Promise((resolve) => setTimeout(resolve, 30));
  await server[Symbol.asyncDispose]();
  await waiting.then(async (response) => response.text()).catch(() => "cut");
});

/** Connections that say this, and nothing more. */
async function holding(t: TestContext, port: number, count: number, text: string): Promise<net.Socket[]> {
  const sockets = Array.from({ length: count }, () => net.connect(port, "127.0.0.1"));
  for (const socket of sockets) {
    atEnd(t, () => socket.destroy());
    socket.on("error", () => undefined).resume();
    if (text !== "") socket.write(text);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await Promise.all(sockets.map(async (socket) => socket.connecting && (await once(socket, "connect"))));
  return sockets;
}

test("neither who says nothing nor one caller keeps all places from the others", async (t) => {
  const table = serviceTable(SELF);
  table.setLocal([service()]);
  const callerOf = (cap: string): Caller | undefined => CALLERS[cap];
  const limits = { maxConnections: 40, silentMs: 60_000 };
  const server = await serveRegistry({ table, callerOf, log: silentLog, ...limits });
  atEnd(t, async () => server[Symbol.asyncDispose]());
  const silent = await holding(t, server.port, 60, "");
  const caller = "GET /two/services?wait=60s HTTP/1.1\r\nhost: registry\r\n\r\n";
  const greedy = await holding(t, server.port, 60, caller);
  const open = (sockets: readonly net.Socket[]): number => sockets.filter(({ closed }) => !closed).length;
  await eventually("that they make room", () => open(silent) <= 20 && open(greedy) <= 10);
  const found = await fetch(`http://127.0.0.1:${server.port}/one/services/say`);
  assert.equal(((await found.json()) as unknown[]).length, 1);
});

test("a request for nothing that could be is answered, and does not fill the log", async (t) => {
  const said: string[] = [];
  const log = { ...silentLog, warn: (msg: string) => void said.push(msg) };
  const server = await serveRegistry({ table: serviceTable(SELF), callerOf: (cap) => CALLERS[cap], log });
  atEnd(t, async () => server[Symbol.asyncDispose]());
  const codes: (number | undefined)[] = [];
  for (const path of ["//", "/one/services/%", "/one/services/%ff"]) {
    const request = http.get({ host: "127.0.0.1", port: server.port, path });
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    codes.push(response.resume().statusCode);
  }
  assert.deepEqual(codes, [403, 200, 200]);
  assert.deepEqual(said, []);
});
