/** What a person types where there are more nodes than one request, page or turn takes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { writeSource } from "./support/apps.ts";
import { type Cluster, startCluster } from "./support/cluster.ts";
import { simulateNode } from "./support/simulated-node.ts";

const NODES = 60;
const JOIN_AT_ONCE = 8;

async function joinMany(cluster: Cluster, alive: AbortSignal): Promise<string[]> {
  const names = Array.from({ length: NODES }, (_, n) => `n${String(n).padStart(2, "0")}`);
  const waiting = [...names];
  const join = async (): Promise<void> => {
    for (let name = waiting.pop(); name !== undefined; name = waiting.pop())
      await simulateNode(cluster, name, alive);
  };
  await Promise.all(Array.from({ length: JOIN_AT_ONCE }, join));
  return names;
}

/** Node by node, the release that it has. */
async function releasesIn(cluster: Cluster): Promise<[node: string, release: string][]> {
  const { apps } = await cluster.json("status", "shop");
  const [shop] = apps as [{ nodes: { node: string; release: string }[] }];
  return shop.nodes.map(({ node, release }) => [node, release]);
}

test("sixty nodes are seen, updated at once and in batches, and taken back (long)", async (t) => {
  const over = new AbortController();
  await using cluster = await startCluster({ signal: t.signal });
  using ending = new DisposableStack();
  ending.defer(() => over.abort());
  const names = await joinMany(cluster, AbortSignal.any([t.signal, over.signal]));
  const deploy = async (text: string, strategy: string): Promise<string> => {
    const files = {
      "skein.yaml": `app: shop\nkind: files\nstrategy: { bake: 0s, ${strategy} }\n`,
      "page.html": text,
    };
    const dir = await writeSource(cluster, text, files);
    return String((await cluster.json("deploy", "--from", dir))["release"]);
  };
  const everywhere = (release: string): [string, string][] => names.map((name) => [name, release]);

  const first = await deploy("first", "type: all_at_once");
  assert.deepEqual(await releasesIn(cluster), everywhere(first));
  const second = await deploy("second", "batch: 40%, max_unavailable: 100%");
  assert.notEqual(second, first);
  assert.deepEqual(await releasesIn(cluster), everywhere(second));
  await cluster.ok("rollback", "shop");
  assert.deepEqual(await releasesIn(cluster), everywhere(first));
  const { nodes } = (await cluster.json("node", "ls")) as { nodes: { name: string }[] };
  assert.deepEqual(
    nodes.map(({ name }) => name),
    names,
  );
});
