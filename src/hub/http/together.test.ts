import assert from "node:assert/strict";
import { test } from "node:test";
import type { Handlers } from "./router.ts";
import { answerAll } from "./together.ts";
import { HubCaller } from "../../api/hub-caller.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { joinNode, keyClient, startTestHub } from "../hub.fixture.ts";
import { FRESH_MS, MOST_TOGETHER, ToldTogether } from "../../api/together.ts";

test("several questions are answered in one request, each as by itself", async (t) => {
  const hub = await startTestHub(t);
  await joinNode(t, hub, "web1");
  const sent = t.mock.method(HubCaller.prototype, "raw");
  const { client } = hub;
  client.together([
    { name: "nodes" },
    { name: "app", params: { app: "shop" }, query: { env: "default" } },
    { name: "depotList", query: { prefix: "packs/", after: "", limit: 10 } },
  ]);
  const list = { prefix: "packs/", after: "", limit: 10 };
  assert.equal((await client.nodes()).nodes[0]?.name, "web1");
  await assert.rejects(client.app("shop", "default"), {
    code: "APP_NOT_FOUND",
    data: { app: "shop", env: "default", envs: [] },
  });
  assert.deepEqual(await client.call("depotList", { query: list }), { names: [], next: null });
  assert.equal(sent.mock.callCount(), 1);
  assert.equal((await client.nodes()).nodes[0]?.name, "web1");
  assert.equal(sent.mock.callCount(), 2, "the same question once more is another question");
});

test("what may not be asked by itself, or not beside others, is answered with why", async (t) => {
  const hub = await startTestHub(t);
  const node = await joinNode(t, hub, "web1");
  const paths = [
    "/v1/wanted",
    "/v1/git",
    "/v1/together",
    "/v1/apps/..%2f..",
    "/v1/releases?limit=-1",
    "nodes",
  ];
  for (const { client } of [hub, node]) {
    const { answers } = await client.call("together", { body: { paths } });
    assert.deepEqual(
      answers.map((answer) => ("error" in answer ? answer.error.code : "answered")),
      ["NOT_FOUND", "NOT_FOUND", "NOT_FOUND", "BAD_REQUEST", "BAD_REQUEST", "BAD_REQUEST"],
    );
  }
  using stranger = keyClient(hub.cluster, hub.address);
  await assert.rejects(stranger.call("together", { body: { paths } }), { code: "UNKNOWN_CLIENT" });
  const many = Array.from({ length: MOST_TOGETHER + 1 }, () => "/v1/nodes");
  await assert.rejects(hub.client.call("together", { body: { paths: many } }), { code: "BAD_REQUEST" });
});

test("more questions than one request has room for take as many as that, and a long one is asked by itself", async (t) => {
  const hub = await startTestHub(t);
  const { client } = hub;
  const apps = ["x".repeat(600), ...Array.from({ length: MOST_TOGETHER + 1 }, (_, n) => `app-${n}`)];
  const sent = t.mock.method(HubCaller.prototype, "raw");
  client.together(apps.map((app) => ({ name: "app", params: { app }, query: { env: "default" } })));
  for (const app of apps.slice(1))
    await assert.rejects(client.app(app, "default"), { message: `no app ${app}/default` });
  assert.equal(sent.mock.callCount(), 2);
  await assert.rejects(client.app(apps[0] as string, "default"), { code: "BAD_REQUEST" });
  assert.equal(sent.mock.callCount(), 3);
});

test("an older hub, which has no such answer, is asked for each by itself", async (t) => {
  const hub = await startTestHub(t);
  const asked: string[] = [];
  const raw: HubCaller["raw"] = hub.client.raw.bind(hub.client);
  t.mock.method(hub.client, "raw", async (request: Parameters<typeof raw>[0]) => {
    asked.push(request.path);
    if (request.path !== "/v1/together") return await raw(request);
    throw new SkeinError("NOT_FOUND", "there is no POST /v1/together");
  });
  hub.client.together([{ name: "nodes" }, { name: "apps" }]);
  assert.deepEqual((await hub.client.nodes()).nodes, []);
  assert.deepEqual((await hub.client.apps()).apps, []);
  assert.deepEqual(asked, ["/v1/together", "/v1/nodes", "/v1/apps"]);
});

test("an answer that came a while ago is asked for anew", async () => {
  let now = 1000;
  const told = new ToldTogether({ ...systemClock, now: () => now });
  told.expect(["/a", "/b"], Promise.resolve([{ body: 1 }, { body: 2 }]));
  assert.deepEqual(await told.take("/a"), { body: 1 });
  await new Promise(setImmediate);
  now += FRESH_MS;
  assert.equal(await told.take("/b"), undefined);
  const lost = new SkeinError("HUB_UNREACHABLE", "gone");
  told.expect(["/c"], Promise.reject(lost));
  await assert.rejects(told.take("/c"), lost);
});

test("what is too long to come beside others is asked for by itself", async () => {
  const said: Buffer[] = [];
  const res = { writeHead: () => undefined, end: (body: Buffer) => said.push(body) };
  const long = "x".repeat(600);
  const handlers = { nodes: async () => ({ long }) } as unknown as Handlers;
  const paths = Array.from({ length: 16 }, (_, n) => `/v1/nodes?n=${n}`);
  const caller = { role: "node" };
  await answerAll(handlers, { caller, body: { paths }, req: { headers: {} }, res } as never, 1500);
  const { answers } = JSON.parse(String(said[0])) as {
    answers: { body?: object; error?: { code: string } }[];
  };
  assert.deepEqual(
    answers.map(({ body, error }) => error?.code ?? body),
    [{ long }, { long }, ...Array.from({ length: 14 }, () => "DOC_TOO_BIG")],
  );
  const told = new ToldTogether(systemClock);
  told.expect(["/a"], Promise.resolve([{ error: { code: "DOC_TOO_BIG", message: "too long" } }]));
  assert.equal(await told.take("/a"), undefined);
});
