/** An app that looks up another one's current service on another node, end to end. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { ServiceAnswer } from "../src/agent/registry/registry.ts";
import { get } from "./support/answers.ts";
import { FAST, nextPort, serverSource, urlOf, writeSource } from "./support/apps.ts";
import { type Cluster, startCluster } from "./support/cluster.ts";
import { signalQuietly } from "./support/processes.ts";

/** Answers every path with what the registry says to it. */
const ASKER = `require("node:http").createServer(async (q, r) => {
  const answer = await fetch(process.env.SKEIN_REGISTRY + q.url);
  r.writeHead(answer.status).end(await answer.text());
}).listen(process.env.PORT, process.env.HOST);
`;
const HEALTH = "health: { ready: { tcp: true, every: 50ms, within: 1m } }";

let cluster: Cluster;
let stop: AbortController;
const shopPorts = [nextPort(), nextPort()];

before(async () => {
  stop = new AbortController();
  cluster = await startCluster({ signal: stop.signal });
  await cluster.addNode("near", { labels: { role: "shop" } });
  await cluster.addNode("far", { labels: { role: "billing" } });
});

after(async () => {
  stop.abort();
  await cluster[Symbol.asyncDispose]();
});

async function deployBilling(version: string): Promise<void> {
  const dir = await writeSource(cluster, `billing-${version}`, {
    "skein.yaml": `app: billing
targets: role=billing
beside: 1
processes:
  web: { run: node server.js, listen: { http: auto, admin: auto }, ${HEALTH} }
`,
    "server.js":
      serverSource(`billing ${version}`) +
      serverSource(`admin ${version}`).replace(".env.PORT", ".env.SKEIN_PORT_ADMIN"),
  });
  await cluster.ok("deploy", "--from", dir, ...FAST);
}

/** What a process of shop is answered on `path`. */
async function asked(process: string, path: string): Promise<readonly ServiceAnswer[]> {
  const port = shopPorts[process === "front" ? 0 : 1];
  const { status, text } = await get(`http://${cluster.nodes[0]?.address}:${port}${path}`);
  assert.equal(status, 200, text);
  return JSON.parse(text) as ServiceAnswer[];
}

/** What billing's instances answer that a process of shop is led to. */
async function told(process: string, service = "billing.web"): Promise<string> {
  const found = await asked(process, `/services/${service}`);
  const answers = await Promise.all(
    found.map(async ({ host, port }) => await get(`http://${host}:${port}/`)),
  );
  return answers.map(({ text }) => text).join();
}

async function untilTold(text: string): Promise<void> {
  await cluster.until(`front is led to ${text}`, async () => (await told("front")) === text);
}

test("a process finds the current service that it uses on another node, through all that comes (long)", async (t) => {
  const dir = await writeSource(cluster, "shop", {
    "skein.yaml": `app: shop
targets: role=shop
processes:
  front: { run: node server.js, listen: ${shopPorts[0]}, uses: [billing.web, billing.web.admin], ${HEALTH} }
  back: { run: node server.js, listen: ${shopPorts[1]}, ${HEALTH} }
`,
    "server.js": ASKER,
  });
  await cluster.ok("deploy", "--from", dir, ...FAST);
  await urlOf(cluster, "shop", "near");

  await t.test("what is not there yet is an empty list, and waited for", async () => {
    assert.deepEqual(await asked("front", "/services/billing.web"), []);
    const path = "/services/billing.web?wait=4s";
    await Promise.all([
      cluster.until("the end of waiting", async () => (await asked("front", path)).length === 1),
      deployBilling("v1"),
    ]);
    await untilTold("billing v1");
    const [one] = await asked("front", "/services/billing.web");
    assert.deepEqual([one?.name, one?.node, one?.host], ["billing.web", "far", cluster.nodes[1]?.address]);
  });

  await t.test("a further socket has a name of its own", async () => {
    assert.equal(await told("front", "billing.web.admin"), "admin v1");
  });

  await t.test("a process that does not use it is told of nothing", async () => {
    assert.deepEqual(await asked("back", "/services/billing.web"), []);
    const names = (await asked("back", "/services")).map(({ name }) => name);
    assert.deepEqual(names.toSorted(), ["back", "front"]);
  });

  await t.test("a new version takes its place, while the old one still runs beside it", async () => {
    const [old] = await asked("front", "/services/billing.web");
    await deployBilling("v2");
    await untilTold("billing v2");
    const [now] = await asked("front", "/services/billing.web");
    assert.notEqual(now?.release, old?.release);
    const serving = (await cluster.ports()).filter(
      ({ app, state }) => app === "billing" && state === "serving",
    );
    assert.deepEqual(new Set(serving.map(({ release }) => release)), new Set([old?.release, now?.release]));
  });

  await t.test("agents and keepers that die change nothing of it", async () => {
    const [near, far] = cluster.nodes;
    assert.ok(near && far);
    await Promise.all([near.restart(), far.restart()]);
    await untilTold("billing v2");
    assert.deepEqual(await asked("back", "/services/billing.web"), []);
    signalQuietly(near.keeperPid(), "SIGKILL");
    await cluster.until(
      "front is back",
      async () =>
        await told("front").then(
          () => true,
          () => false,
        ),
    );
    await untilTold("billing v2");
    await deployBilling("v3");
    await untilTold("billing v3");
  });
});
