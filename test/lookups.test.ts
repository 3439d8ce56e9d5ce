/** Services that look each other up across nodes, while a rollout goes from node to node. */
import assert from "node:assert/strict";
import fs from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";
import { Asker, FAST, nextPort, urlOf, writeSource } from "./support/apps.ts";
import { type AgentProcess, type Cluster, startCluster } from "./support/cluster.ts";
import { resultEvent } from "./support/refusals.ts";

/** Asks the say of its own release, wherever that runs, for every request; again where an agent was killed over its answer. */
const WEB = `const { createServer } = require("node:http");
const lookUp = () => fetch(process.env.SKEIN_REGISTRY + "/services/say");
createServer(async (q, r) => {
  try {
    const found = await (await lookUp().catch(lookUp)).json();
    if (found.length === 0) throw new Error("no say");
    const said = await fetch("http://" + found[0].host + ":" + found[0].port);
    r.end(VERSION + " " + (await said.text()));
  } catch (err) { r.writeHead(500).end(VERSION + ": " + err.message); }
}).listen(process.env.PORT, process.env.HOST);
`;
const SAY = `require("node:http").createServer((q, r) => r.end("says " + VERSION))
  .listen(process.env.PORT, process.env.HOST);
`;

let cluster: Cluster;
let stop: AbortController;
let sayNode: AgentProcess | undefined;
let webNode: AgentProcess | undefined;
const port = nextPort();

before(async () => {
  stop = new AbortController();
  cluster = await startCluster({ signal: stop.signal });
  const web = { labels: { role: "web" } };
  [sayNode, webNode] = await cluster.addNodes({ a: { labels: { role: "say" } }, b: web, c: web });
});

after(async () => {
  stop.abort();
  await cluster[Symbol.asyncDispose]();
});

/** The nodes with web come one after the other. */
async function folder(version: string, hook: string): Promise<string> {
  const source = (text: string): string => `const VERSION = ${JSON.stringify(version)};\n${text}`;
  return await writeSource(cluster, version, {
    "skein.yaml": `app: pair
strategy: { batch: 1, bake: 0s }
hooks: { pre_jump: { run: "${hook}" } }
processes:
  web: { run: node web.js, listen: ${port}, on: role=web, after: [say], drain: { window: 1s, within: 1m } }
  say: { run: node say.js, listen: { say: { port: auto } }, on: role=say, drain: { window: 1s, within: 1m } }
`,
    "web.js": source(WEB),
    "say.js": source(SAY),
  });
}

async function says(): Promise<number> {
  return (await cluster.ports()).filter(({ process, state }) => process === "say" && state === "serving")
    .length;
}

async function untilSays(count: number): Promise<void> {
  await cluster.until(`${count} say`, async () => (await says()) === count);
}

test("every web finds the say of its own release, in every batch, when taken back, and without the hub (long)", async (t) => {
  await cluster.ok("deploy", "--from", await folder("v1", "true"), ...FAST);
  const urls = await Promise.all(["b", "c"].map(async (node) => await urlOf(cluster, "pair", node)));
  await cluster.until("web finds say", async () =>
    (await Promise.all(urls.map(async (url) => (await fetch(url)).ok))).every(Boolean),
  );
  const right = ["v1", "v2", "v3", "v4"].map((version) => `${version} says ${version}`);
  await using onB = new Asker(urls[0] ?? "", right);
  await using onC = new Asker(urls[1] ?? "", right);
  const unharmed = (): void => {
    onB.unharmed();
    onC.unharmed();
  };

  /** The last node has its turn when this is called: everybody can see what is between the batches. */
  const lastWaits = (version: string): { readonly hook: string; readonly goOn: () => Promise<void> } => {
    const flag = path.join(cluster.dir, `go-on-${version}`);
    const hook = `[ $SKEIN_NODE != c ] || until [ -e ${flag} ]; do sleep 0.05; done`;
    return { hook, goOn: async () => await fs.writeFile(flag, "") };
  };

  await t.test("the old say lives until the last batch is done, and no longer", async () => {
    const { hook, goOn } = lastWaits("v2");
    const deploying = cluster.ok("deploy", "--from", await folder("v2", hook));
    await untilSays(2);
    await goOn();
    await deploying;
    await untilSays(1);
    unharmed();
  });

  await t.test("a rollout that fails at the end leads everybody back to where the old say is", async () => {
    const v3 = await folder("v3", "[ $SKEIN_NODE != c ]");
    const undone = resultEvent(await cluster.skein(["--json", "deploy", "--from", v3]));
    assert.equal(undone.exit, 3);
    await untilSays(1);
    unharmed();
  });

  await t.test("a hub or an agent that dies between the batches ends nothing", async () => {
    const { hook, goOn } = lastWaits("v4");
    await cluster.ok("deploy", "--from", await folder("v4", hook), "--detach");
    await untilSays(2);
    await cluster.hub.kill();
    await sayNode?.restart();
    await cluster.hub.start();
    await goOn();
    await cluster.ok("watch", "pair");
    await untilSays(1);
    unharmed();
  });

  await t.test(
    "an agent that dies while no hub answers comes back with what its services look up",
    async () => {
      await cluster.hub.kill();
      await webNode?.restart();
      const onBoth = await Promise.all(urls.map(async (url) => (await fetch(url)).status));
      assert.deepEqual(onBoth, [200, 200]);
      unharmed();
      await cluster.hub.start();
    },
  );

  const answers = await Promise.all(urls.map(async (url) => await (await fetch(url)).text()));
  assert.deepEqual(answers, ["v4 says v4", "v4 says v4"]);
});
