/** What happens to a deployment that is under way when somebody else deploys, collects or purges. */
import assert from "node:assert/strict";
import fs from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { Asker, nextPort, serverSource, writeSource } from "./support/apps.ts";
import { get } from "./support/answers.ts";
import { startCluster } from "./support/cluster.ts";

test("of two deployments one goes on; gc and purge take nothing from it, nor from what it may go back to (long)", async (t) => {
  await using cluster = await startCluster({ signal: t.signal });
  const port = nextPort();
  const n1 = await cluster.addNode("n1");
  const n2 = await cluster.addNode("n2");
  const sourceOf = async (text: string): Promise<string> =>
    await writeSource(cluster, text, {
      "skein.yaml": `app: shop\nprocesses: { web: { run: node server.js, listen: ${port}, health: /, drain: { window: 1s, within: 1m } } }\n`,
      "server.js": serverSource(text),
    });
  const [one, two, three] = [await sourceOf("one"), await sourceOf("two"), await sourceOf("three")];
  await cluster.okIn(one, "deploy", "--bake", "0s", "--all-at-once");
  const url = `http://${n1.address}:${port}/`;
  await using asker = new Asker(url, ["one", "two", "three"]);
  const baking = ["deploy", "--bake", "4s", "--all-at-once"];
  const both = Promise.all([two, three].map(async (cwd) => await cluster.skein(baking, { cwd })));
  // What fails meanwhile is what is to be told.
  both.catch(() => undefined);
  await cluster.until("a new version answers", async () => (await get(url)).text !== "one");

  assert.match((await cluster.ok("gc", "shop", "count", "0")).stderr, /Nothing to remove/);
  const current = path.basename(await fs.readlink(path.join(n2.home, "lib/apps/shop/current")));
  const purged = await cluster.skein(["purge", "shop", current]);
  assert.deepEqual([purged.code, /REVISION_ACTIVE/.test(purged.stderr)], [1, true]);

  const ended = await both;
  const told = ended.map(({ stderr }) => stderr).join("\n");
  assert.deepEqual(new Set(ended.map(({ code }) => code)), new Set([0, 6]), told);
  assert.notEqual((await get(url)).text, "one");
  await cluster.ok("drift", "shop", "--files");
  await cluster.ok("rollback", "shop");
  assert.equal((await get(url)).text, "one");
  asker.unharmed();
});
