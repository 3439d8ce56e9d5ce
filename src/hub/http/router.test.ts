import assert from "node:assert/strict";
import type http from "node:http";
import test from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { ROLES, type Role, type Route } from "../../api/route.ts";
import { ROUTES } from "../../api/routes.ts";
import type { HubClient } from "../../api/hub-client.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";
import { findRoute } from "./router.ts";
import { joinNode, keyClient, startTestHub } from "../hub.fixture.ts";

/** Who may call what, written a second time on purpose: a slip in the table must not go unseen. */
const ALLOWED: Readonly<Record<keyof typeof ROUTES, string>> = {
  together: "node operator",
  hub: "anonymous node operator",
  openapi: "anonymous node operator",
  charters: "anonymous node operator",
  postCharter: "anonymous node operator",
  postTicket: "operator",
  ticket: "anonymous node operator",
  enrol: "anonymous node operator",
  comeBack: "anonymous node operator",
  membership: "node",
  nodes: "node operator",
  nodeDocuments: "node operator",
  postLabel: "operator",
  postRevocation: "operator",
  postRelease: "operator",
  releases: "node operator",
  release: "node operator",
  postOrder: "operator",
  orders: "node operator",
  postSettle: "operator",
  apps: "node operator",
  app: "node operator",
  rollout: "node operator",
  rolloutViews: "node operator",
  abortRollout: "operator",
  pauseRollout: "operator",
  resumeRollout: "operator",
  wanted: "node",
  roster: "node operator",
  report: "node",
  peers: "node",
  ports: "node operator",
  events: "node operator",
  depotHas: "node operator",
  depotList: "node operator",
  depotGet: "node operator",
  depotPieces: "node operator",
  depotHead: "operator",
  depotPut: "operator",
  depotDelete: "operator",
  depotCollect: "operator",
  repos: "operator",
  git: "operator",
  gitRefs: "operator",
  gitExchange: "operator",
  postCommand: "operator",
  answerCommand: "node",
};

const SAMPLE: Readonly<Record<string, string>> = {
  digest: "0".repeat(64),
  ticket: "0".repeat(64),
  node: "0".repeat(32),
  name: "web1",
  app: "shop",
  id: "abcd1234",
  repo: "shop",
  service: "git-upload-pack",
};

const pathOf = (route: Route): string =>
  route.path.replaceAll(/:(\w+)/g, (_, key: string) => SAMPLE[key] ?? "").replace("*", "packs/x");

/** `in` when the door let the call through, whatever became of it; else the code it was refused with. */
async function knock(client: HubClient, route: Route): Promise<string> {
  const stop = new AbortController();
  try {
    const body = route.method === "POST" || route.method === "PUT" ? "{}" : undefined;
    const headers = body === undefined ? {} : { "content-type": "application/json" };
    const options = { method: route.method, path: pathOf(route), headers, body, signal: stop.signal };
    const response: http.IncomingMessage = await client.raw(options);
    response.destroy();
    return "in";
  } catch (err) {
    const refusals = ["UNKNOWN_CLIENT", "NOT_AUTHORISED"];
    if (!isSkeinError(err)) throw err;
    // A HEAD has no body to say which code it was.
    if (route.method === "HEAD") return [401, 403].includes(err.data["status"] as number) ? "refused" : "in";
    return refusals.includes(err.code) && !err.message.includes("right") ? "refused" : "in";
  } finally {
    stop.abort();
  }
}

test("every route lets in exactly the roles of its row, tried one by one", async (t) => {
  const hub = await startTestHub(t, { anonymousPerSec: 1e6 });
  const node = await joinNode(t, hub, "web1");
  const stranger = keyClient(hub.cluster, hub.address);
  atEnd(t, () => stranger.close());
  const clients: Record<Role, HubClient> = { anonymous: stranger, node: node.client, operator: hub.client };
  for (const [name, route] of Object.entries<Route>(ROUTES)) {
    for (const role of ROLES) {
      const allowed = ALLOWED[name as keyof typeof ROUTES].split(" ").includes(role);
      assert.equal(route.roles.includes(role), allowed, `the table: ${name} by ${role}`);
      // What these two do beyond their row is their own test's matter.
      if (name === "postCharter" || (name === "answerCommand" && role === "node")) continue;
      assert.equal(await knock(clients[role], route), allowed ? "in" : "refused", `${name} by ${role}`);
    }
  }
});

test("what is not in the table is not found, and methods are told apart", () => {
  assert.equal(findRoute("GET", "/v1/secrets"), undefined);
  assert.equal(findRoute("DELETE", "/v1/hub"), undefined);
  assert.equal(findRoute("GET", "/v1/hub/"), undefined);
  assert.equal(findRoute("GET", "/v1/nodes/web1/documents")?.name, "nodeDocuments");
  assert.equal(findRoute("GET", "/v1/depot/blobs/packs/ab/cd")?.params["blob"], "packs/ab/cd");
});

test("a parameter that is not of its form is refused", () => {
  for (const path of ["/v1/rollouts/xyz", "/v1/apps/..%2f..", "/v1/apps/%ff", "/v1/releases/zz"]) {
    assert.throws(() => findRoute("GET", path), { code: "BAD_REQUEST" }, path);
  }
});

test("bodies are bounded, and unknown fields refused", async (t) => {
  const hub = await startTestHub(t);
  const post = async (body: string): Promise<unknown> =>
    await hub.client.raw({
      method: "POST",
      path: "/v1/tickets",
      headers: { "content-type": "application/json" },
      body,
    });
  await assert.rejects(post("{"), { code: "BAD_REQUEST" });
  await assert.rejects(post(JSON.stringify({ ticket: null, more: 1 })), { code: "BAD_REQUEST" });
  await assert.rejects(post(" ".repeat(3 * 2 ** 20)), { code: "DOC_TOO_BIG" });
});

test("strangers are held to a rate; those who are known are not", async (t) => {
  const hub = await startTestHub(t, { anonymousPerSec: 0.001 });
  const stranger = keyClient(hub.cluster, hub.address);
  atEnd(t, () => stranger.close());
  for (let n = 0; n < 100; n++) await stranger.hub();
  for (let n = 0; n < 10; n++) await assert.rejects(stranger.hub(), { code: "TOO_MANY" });
  await hub.client.hub();
});

test("the OpenAPI document has every route", async (t) => {
  const hub = await startTestHub(t);
  const { openApiDocument } = await import("../../api/openapi.ts");
  const document = (await hub.client.call("openapi")) as { paths: Record<string, Record<string, unknown>> };
  assert.deepEqual(document, JSON.parse(JSON.stringify(openApiDocument("0.0.0"))));
  assert.equal(openApiDocument("0.0.0"), openApiDocument("0.0.0"), "it is made once");
  const operations = Object.values(document.paths).flatMap((path) => Object.keys(path));
  assert.equal(operations.length, Object.keys(ROUTES).length);
});
