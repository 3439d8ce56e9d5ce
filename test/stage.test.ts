/** Releases that are placed before they are deployed, with real hub, agents and commands. */
import assert from "node:assert/strict";
import fs from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { FAST, RUN, serverSource, urlOf, writeSource } from "./support/apps.ts";
import { get } from "./support/answers.ts";
import { startCluster, type AgentProcess } from "./support/cluster.ts";

const isPlaced = async (node: AgentProcess, release: string): Promise<boolean> =>
  await fs.access(path.join(node.home, "lib/apps/shop/revs", release, "server.js")).then(
    () => true,
    () => false,
  );

test("a release is placed on the nodes that are there, later on one that was away, then switched to", async (t) => {
  await using cluster = await startCluster({ signal: t.signal });
  const n1 = await cluster.addNode("n1");
  const n2 = await cluster.addNode("n2");
  const source = await writeSource(cluster, "shop", {
    "skein.yaml": `app: shop\n${RUN}`,
    "server.js": serverSource("one"),
  });
  await cluster.okIn(source, "deploy", ...FAST);
  await n2.kill();
  await cluster.absent("n2");
  await fs.writeFile(path.join(source, "server.js"), serverSource("two"));
  const staged = JSON.parse(
    (await cluster.okIn(source, "--json", "cp", "--from", ".")).stdout.trim().split("\n").at(-1) ?? "",
  ) as { release: string; nodes: { node: string; outcome: string; bytesFetched: number }[] };
  assert.deepEqual(
    staged.nodes.map(({ node, outcome }) => [node, outcome]),
    [
      ["n1", "staged"],
      ["n2", "later"],
    ],
  );
  assert.ok((staged.nodes[0]?.bytesFetched ?? 0) > 0);
  assert.ok(await isPlaced(n1, staged.release));
  assert.equal((await get(await urlOf(cluster, "shop", "n1"))).text, "one", "nothing was activated");
  await n2.start();
  await cluster.until("n2 has it too", async () => await isPlaced(n2, staged.release));
  // What was placed is named by its id alone, and is the app's newest release.
  const again = await cluster.ok("cp", "shop");
  assert.match(again.stdout, /on 2 of 2 nodes\n +n1 +was there already\n +n2 +was there already/);
  await cluster.present("n2");
  await cluster.ok("deploy", "shop", staged.release, ...FAST);
  assert.equal((await get(await urlOf(cluster, "shop", "n2"))).text, "two");
});
