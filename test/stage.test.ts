/** Releases that are placed before they are deployed, with real hub, agents and commands. */
import assert from "node:assert/strict";
import fs from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";
import { FAST, RUN, serverSource, urlOf, writeSource } from "./support/apps.ts";
import { get } from "./support/answers.ts";
import { type AgentProcess, type Cluster, startCluster } from "./support/cluster.ts";
import { ended } from "./support/processes.ts";
import { sourceRepo } from "./support/repo.ts";

let cluster: Cluster;
let stop: AbortController;
let n1: AgentProcess;
let n2: AgentProcess;

before(async () => {
  stop = new AbortController();
  cluster = await startCluster({ signal: stop.signal });
  [n1 = assert.fail(), n2 = assert.fail()] = await cluster.addNodes({ n1: {}, n2: {} });
});

after(async () => {
  stop.abort();
  await cluster[Symbol.asyncDispose]();
});

const isPlaced = async (node: AgentProcess, release: string, app = "shop"): Promise<boolean> =>
  await fs.access(path.join(node.home, "lib/apps", app, "revs", release, "server.js")).then(
    () => true,
    () => false,
  );

test("a release is placed on the nodes that are there, later on one that was away, then switched to", async () => {
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
  for (const words of [
    ["stage", "--full", "--version", staged.release],
    ["cp", "--through-cache", "shop"],
  ]) {
    const anew = await cluster.okIn(source, ...words, "--on", "n1");
    assert.match(
      anew.stdout,
      /on 1 of 1 nodes\n +n1 +[1-9][\d.]* k?B fetched +hub [^\n,]*\n$/i,
      words.join(" "),
    );
  }
  await cluster.present("n2");
  const isStaged =
    /n1 +shop\/default +shop@[0-9a-f]{8} +running\nn1 +shop\/default +shop@([0-9a-f]{8}) +staged\n/;
  await cluster.until("the list of versions shows it", async () => {
    const [, shown] = isStaged.exec((await cluster.ok("list", "versions")).stdout) ?? [];
    return shown === staged.release.slice(0, 8);
  });
  await cluster.ok("deploy", "shop", staged.release, ...FAST);
  // Until the settle has come to the node, the old instance stands in the port table beside the new one.
  await cluster.until("n2 serves it alone", async () => {
    return (await get(await urlOf(cluster, "shop", "n2"))).text === "two";
  });
});

test("what was purged while a node was away is not placed on it by an earlier cp when it comes (long)", async () => {
  const source = await writeSource(cluster, "purged", {
    "skein.yaml": `app: purged\n${RUN}`,
    "server.js": serverSource("one"),
  });
  await cluster.okIn(source, "deploy", ...FAST);
  await n2.kill();
  await cluster.absent("n2");
  const placed = async (version: string): Promise<string> => {
    await fs.writeFile(path.join(source, "server.js"), serverSource(version));
    const { stdout } = await cluster.okIn(source, "--json", "cp", "--from", ".");
    return (JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as { release: string }).release;
  };
  const two = await placed("two");
  const purge = await cluster.skein(["purge", "purged", two]);
  assert.equal(purge.code, 5, purge.stderr);
  assert.match(purge.stderr, /NODES_SILENT/);
  assert.ok(!(await isPlaced(n1, two, "purged")));
  const three = await placed("three");
  await n2.start();
  await cluster.until("n2 has what came after it", async () => await isPlaced(n2, three, "purged"));
  assert.ok(!(await isPlaced(n2, two, "purged")));
});

test("cp waits for nobody who goes away before it has begun (long)", async () => {
  const source = await writeSource(cluster, "gone", {
    "skein.yaml": `app: gone\n${RUN}`,
    "server.js": serverSource("one"),
  });
  process.kill(n2.pid, "SIGSTOP");
  const log = path.join(cluster.dir, "cp.log");
  const { command, args } = cluster.program;
  const at = { cwd: source, env: cluster.env(cluster.operatorHome), log };
  const placing = cluster.processes.start(command, [...args, "--json", "cp", "--from", "."], at);
  const said = async (): Promise<string> => await fs.readFile(log, "utf8");
  await cluster.until("n1 has it", async () => /"type":"staged","node":"n1"/.test(await said()));
  assert.doesNotMatch(await said(), /"type":"staged","node":"n2"/, "n2 stands still, and is there");
  await n2.kill();
  await ended(placing);
  const last = (await said()).trim().split("\n").at(-1) ?? "";
  const { release, nodes } = JSON.parse(last) as { release: string; nodes: { outcome: string }[] };
  assert.deepEqual(
    nodes.map(({ outcome }) => outcome),
    ["staged", "later"],
  );
  await n2.start();
  await cluster.until("n2 has it, too", async () => await isPlaced(n2, release, "gone"));
});

test("a push of the branch that the manifest names makes the release and stages it, and says how that went (long)", async () => {
  const repo = await sourceRepo(path.join(cluster.dir, "repo"));
  const url = cluster.gitUrl("pushed");
  const manifest = (build: string): string => `app: pushed\nbuild: ${build}\nstage_on_push: master\n${RUN}`;
  await repo.commit({ "skein.yaml": manifest("echo made > made.txt"), "server.js": serverSource("one") });
  const pushed = await cluster.okGit(repo.dir, "push", url, "master");
  assert.match(pushed.stderr, /staging master/);
  const [, short = ""] = /pushed@([0-9a-f]{8}) is placed on 2 of 2 nodes/.exec(pushed.stderr) ?? [];
  const revs = await fs.readdir(path.join(n1.home, "lib/apps/pushed/revs"));
  const release = revs.find((name) => name.startsWith(short)) ?? "";
  assert.equal(
    await fs.readFile(path.join(n1.home, "lib/apps/pushed/revs", release, "made.txt"), "utf8"),
    "made\n",
  );
  assert.ok(
    (await cluster.ports()).every(({ app }) => app !== "pushed"),
    "nothing runs",
  );

  await repo.git("checkout", "-q", "-b", "next");
  await repo.commit({ "server.js": serverSource("two") });
  assert.doesNotMatch((await cluster.okGit(repo.dir, "push", url, "next")).stderr, /staging|placed/);

  for (const commit of ["master", "next"]) await cluster.okIn(repo.dir, "deploy", "pushed", commit, ...FAST);
  const back = await cluster.okIn(repo.dir, "rollback", "pushed", "--to", "master");
  assert.ok(back.stdout.includes(`pushed@${short} runs`), "a branch means the release of its commit");

  await repo.git("checkout", "-q", "master");
  const broken = await repo.commit({ "skein.yaml": manifest("echo no luck; exit 3") });
  const newest = await cluster.okIn(repo.dir, "cp");
  assert.match(newest.stderr, /is the newest release; HEAD here is another commit: skein cp \S+ HEAD/);
  const failed = await cluster.okGit(repo.dir, "push", url, "master");
  assert.match(failed.stderr, /no luck/);
  assert.match(failed.stderr, /master was pushed, and is not staged/);
  assert.match(failed.stderr, /BUILD_FAILED/);
  assert.ok(
    (await cluster.okGit(repo.dir, "ls-remote", url)).stdout.includes(`${broken}\trefs/heads/master`),
  );
});
