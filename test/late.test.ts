/** Nodes that are let in after something was ordered: each gets what stands for it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { RUN, serverSource, writeSource } from "./support/apps.ts";
import { type Cluster, startCluster } from "./support/cluster.ts";

async function release(cluster: Cluster, app: string, text: string, more = ""): Promise<string> {
  return await writeSource(cluster, app, {
    "skein.yaml": `app: ${app}\n${RUN}strategy: { type: all_at_once, bake: 0s }\n${more}`,
    "server.js": serverSource(text),
  });
}

test("a node gets what stands for it, whatever was said to other nodes or taken back when it was invited (long)", async (t) => {
  await using cluster = await startCluster({ signal: t.signal });
  await cluster.addNodes({ a: { labels: { role: "web" } }, b: { labels: { role: "db" } } });
  const deploy = async (app: string, text: string, ...more: readonly string[]): Promise<void> => {
    await cluster.ok("deploy", "--from", await release(cluster, app, text), ...more);
  };
  await deploy("parted", "one");
  await cluster.ok("restart", "parted", "--on", "a");
  await deploy("undone", "one");
  const bad = await release(cluster, "undone", "two", "verify: exit 1\n");
  assert.equal((await cluster.skein(["deploy", "--from", bad])).code, 3);
  await deploy("labelled", "web", "--on", "role=web");
  await deploy("labelled", "db", "--on", "role=db");
  await cluster.addNode("late", { labels: { role: "web" } });
  for (const [app, text] of [
    ["parted", "one"],
    ["undone", "one"],
    ["labelled", "web"],
  ] as const) {
    await cluster.until(`${app} serves on the late node`, async () => {
      const ports = await cluster.ports();
      const own = ports.find((one) => one.app === app && one.nodeName === "late" && one.state === "serving");
      if (own === undefined) return false;
      const answer = await fetch(`http://${own.host}:${own.port}/`);
      return (await answer.text()) === text;
    });
  }
});
