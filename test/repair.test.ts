/** Damage on real nodes is named, and healed while they serve. */
import assert from "node:assert/strict";
import fs from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { eventually } from "../src/lib/testing/eventually.fixture.ts";
import { Asker, FAST, nextPort, serverSource, writeSource } from "./support/apps.ts";
import { get } from "./support/answers.ts";
import { startCluster, type AgentProcess, type Cluster } from "./support/cluster.ts";

const ASSET = "the bytes that were signed\n";

async function assetOn(node: AgentProcess): Promise<string> {
  const revs = path.join(node.home, "lib/apps/shop/revs");
  const [release = ""] = (await fs.readdir(revs)).filter((name) => /^[0-9a-f]{32}$/.test(name));
  return path.join(revs, release, "asset.txt");
}

async function damage(file: string): Promise<void> {
  await fs.chmod(file, 0o644);
  await fs.writeFile(file, ASSET.replace("bytes", "bites"));
  await fs.chmod(file, 0o444);
}

async function isMended(file: string): Promise<boolean> {
  return (await fs.readFile(file, "utf8")) === ASSET;
}

async function served(cluster: Cluster, port: number): Promise<[AgentProcess, AgentProcess]> {
  const nodes: [AgentProcess, AgentProcess] = [await cluster.addNode("n1"), await cluster.addNode("n2")];
  const source = await writeSource(cluster, "shop", {
    "skein.yaml": `app: shop\nprocesses: { web: { run: node server.js, listen: ${port}, health: /up, drain: { window: 1s, within: 1m } } }\n`,
    "server.js": serverSource("one"),
    "asset.txt": ASSET,
  });
  await cluster.okIn(source, "deploy", ...FAST);
  return nodes;
}

test("a flipped byte on one node and a stopped process on the other are named, and both healed (long)", async (t) => {
  await using cluster = await startCluster({ signal: t.signal });
  const port = nextPort();
  const [n1, n2] = await served(cluster, port);
  assert.match((await cluster.ok("compare-checksums", "shop")).stdout, /n1 +OK\nn2 +OK/);
  const file = await assetOn(n1);
  await damage(file);
  await cluster.ok("stop", "web.1@n2");
  const named = /n1 +shop@\w+ +running\n +n2 +shop@\w+ +running +stopped by name: web\.1\n/;
  await eventually("the status names what was stopped", async () => {
    return named.test((await cluster.ok("status", "shop")).stdout);
  });

  const compared = await cluster.skein(["compare-checksums", "shop"]);
  assert.equal(compared.code, 1);
  assert.match(compared.stdout, /n1 +content +asset\.txt +shop@[0-9a-f]{8}\nn2 +OK/);
  const differs = await cluster.skein(["drift", "shop"]);
  assert.equal(differs.code, 1);
  assert.match(differs.stdout, /n1 +OK\nn2 +0 of 1 web serve/);

  await using asker = new Asker(`http://${n1.address}:${port}/`, ["one"]);
  const repaired = await cluster.ok("repair", "shop");
  assert.match(repaired.stdout, /n1 +asset\.txt \(content\) was set right/);
  assert.match(repaired.stdout, /n2 +1 web came back/);
  assert.ok(await isMended(file));
  assert.equal((await get(`http://${n2.address}:${port}/`)).text, "one");
  await cluster.ok("drift", "shop", "--files");
  const copied = (await cluster.ok("repair", "shop", "--full-copy")).stdout;
  for (const name of ["n1", "n2"]) assert.match(copied, new RegExp(`${name} +3 files were replaced`));

  await damage(file);
  const watch = cluster.processes.start(
    cluster.program.command,
    [...cluster.program.args, "repair", "shop", "--watch", "--every", "300ms"],
    { cwd: cluster.dir, env: cluster.env(cluster.operatorHome), log: path.join(cluster.dir, "watch.log") },
  );
  await cluster.until("the watcher mends it", async () => await isMended(file));
  await damage(file);
  await cluster.until("the watcher mends it again", async () => await isMended(file));
  watch.kill("SIGINT");
  const code = await new Promise((resolve) => watch.once("exit", resolve));
  assert.equal(code, 130);
  asker.unharmed();
});
