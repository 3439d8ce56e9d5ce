/** A deployment that was to be settled by the machine that watched it, which was lost before. */
import assert from "node:assert/strict";
import fs from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";
import { get } from "./support/answers.ts";
import { RUN, serverSource, writeSource } from "./support/apps.ts";
import { type Cluster, startCluster } from "./support/cluster.ts";
import { alive, ended } from "./support/processes.ts";
import { refused } from "./support/refusals.ts";

let cluster: Cluster;
let stop: AbortController;

before(async () => {
  stop = new AbortController();
  // It ends with the first settle that comes by itself, before it has answered.
  cluster = await startCluster({ signal: stop.signal, hubEnv: { SKEIN_FAULT: "hub.settle-kept" } });
  await cluster.addNodes({ a: {}, b: {} });
});

after(async () => {
  stop.abort();
  await cluster[Symbol.asyncDispose]();
});

const folder = async (text: string, hook = "true"): Promise<string> =>
  await writeSource(cluster, "left", {
    "skein.yaml": `app: left\n${RUN}strategy: { batch: 100%, bake: 0s }\nhooks: { pre_jump: { run: "${hook}" } }\n`,
    "server.js": serverSource(text),
  });

async function served(...lines: readonly string[]): Promise<void> {
  await cluster.until(lines.join(), async () => {
    const ports = (await cluster.ports()).filter(({ state }) => state === "serving");
    const texts = ports.map(async ({ nodeName, host, port }) => {
      return `${nodeName} ${(await get(`http://${host}:${port}/`)).text}`;
    });
    return (await Promise.all(texts)).toSorted().join() === lines.join();
  });
}

/** Deploys, and is gone before any node has begun. @returns what status says to type then */
async function leave(text: string): Promise<readonly [stands: string, goesBack: string]> {
  const flag = path.join(cluster.dir, text);
  const source = await folder(text, `until [ -e ${flag} ]; do sleep 0.05; done`);
  const { command, args } = cluster.program;
  const words = [...args, "deploy", "--from", source, "--attended"];
  const at = { cwd: cluster.dir, env: cluster.env(cluster.operatorHome), log: path.join(cluster.dir, "log") };
  const deploying = cluster.processes.start(command, words, at);
  const { client } = await cluster.operator();
  await cluster.until("the nodes are at it", async () => {
    const [app] = await client.app("left", "default", stop.signal);
    return app?.phase === "running";
  });
  const gone = ended(deploying);
  process.kill(-(deploying.pid ?? 0), "SIGKILL");
  await gone;
  await fs.writeFile(flag, "");
  const advice =
    /^left@\w+ {2}default {2}ok {2}UNSETTLED\n {2}nobody has signed that it stands: skein (.*) does, skein (.*) goes back$/m;
  let said: RegExpExecArray | null = null;
  await cluster.until("all have begun it", async () => {
    said = advice.exec((await cluster.ok("status", "left")).stdout);
    return said !== null;
  });
  const [, stands = "", goesBack = ""] = said ?? [];
  return [stands, goesBack];
}

test("what nobody stayed to settle serves beside what ran before, until anybody orders it once more or goes back (long)", async () => {
  await cluster.ok("deploy", "--from", await folder("v1"));
  const [stands] = await leave("v2");
  await served("a v1", "a v2", "b v1", "b v2");
  await cluster.ok(...stands.split(" "));
  await served("a v2", "b v2");
  assert.doesNotMatch((await cluster.ok("status", "left")).stdout, /UNSETTLED|nobody/);
  const [, goesBack] = await leave("v3");
  await served("a v2", "a v3", "b v2", "b v3");
  await cluster.ok(...goesBack.split(" "));
  await served("a v2", "b v2");
  assert.doesNotMatch((await cluster.ok("status", "left")).stdout, /UNSETTLED|nobody/);
});

test("a hub that ends while it is told that a deployment stands is waited for (long)", async () => {
  const deploying = cluster.ok("deploy", "--from", await folder("v4"), "--attended");
  await cluster.until("the hub has ended", async () => !alive(cluster.hub.pid));
  await cluster.hub.start();
  await deploying;
  await served("a v4", "b v4");
  assert.doesNotMatch((await cluster.ok("status", "left")).stdout, /UNSETTLED|nobody/);
});

test("who is to see the receipts cannot leave at once", async () => {
  const source = await folder("v5");
  await refused(cluster, [2, "AMBIGUOUS"], ["deploy", "--from", source, "--attended", "--detach"]);
  await refused(cluster, [2, "AMBIGUOUS"], ["rollback", "left", "--attended", "--detach"]);
  await refused(cluster, [2, "AMBIGUOUS"], ["restart", "left", "--attended", "--detach"]);
});
