/** Agents that fetch from each other: real hub, real agents, real connections. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import fs from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { invite } from "../src/operator/nodes.ts";
import { startCluster, type Cluster } from "./support/cluster.ts";

const MIB = 2 ** 20;

/** Nodes that are invited by the operator in this process: a command each would take longer. */
async function addNodes(cluster: Cluster, count: number): Promise<void> {
  const operator = await cluster.operator();
  const names = Array.from({ length: count }, (_, n) => `n${cluster.nodes.length + n + 1}`);
  const lines: string[] = [];
  for (const name of names) {
    const wish = { name, labels: {}, validMs: 600_000, replace: null };
    lines.push((await invite(operator, wish, cluster.signal)).line);
  }
  await Promise.all(names.map(async (name, n) => await cluster.startNode(name, lines[n] ?? "")));
}

/** Content of so many bytes that nothing makes smaller. */
async function writeNoise(cluster: Cluster, name: string, bytes: number): Promise<string> {
  const dir = path.join(cluster.dir, "src", name);
  await fs.mkdir(dir, { recursive: true });
  await fs.writeFile(path.join(dir, "skein.yaml"), "app: noise\nkind: files\n");
  await fs.writeFile(path.join(dir, "noise.bin"), randomBytes(bytes));
  return dir;
}

/** Bytes of the newest order's release by where they came from, over all nodes. */
async function sourcesOf(cluster: Cluster): Promise<Record<string, number>> {
  const { client } = await cluster.operator();
  const sum: Record<string, number> = {};
  for (const { apps } of (await client.nodes(cluster.signal)).nodes) {
    for (const [source, bytes] of Object.entries(apps.find(({ app }) => app === "noise")?.sources ?? {}))
      sum[source] = (sum[source] ?? 0) + (bytes ?? 0);
  }
  return sum;
}

test("five nodes fetch a release for what it costs the hub to give it about once", async (t) => {
  await using cluster = await startCluster({ signal: t.signal });
  await addNodes(cluster, 5);
  const source = await writeNoise(cluster, "noise", 12 * MIB);
  await cluster.okIn(source, "deploy", "--bake", "0s", "--all-at-once");
  let sources: Record<string, number> = {};
  await cluster.until("every node has told where its bytes came from", async () => {
    sources = await sourcesOf(cluster);
    const came = Object.values(sources).reduce((sum, bytes) => sum + bytes, 0);
    return came >= 5 * 12 * MIB;
  });
  assert.ok((sources["hub"] ?? 0) <= 1.5 * 12 * MIB, JSON.stringify(sources));
  assert.ok((sources["peer"] ?? 0) >= 3 * 12 * MIB, JSON.stringify(sources));
});
