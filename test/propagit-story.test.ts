/** The story of propagit's README, end to end: push, deploy by commit, versions side by side, the old one retired. */
import assert from "node:assert/strict";
import fs from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { get } from "./support/answers.ts";
import { type Cluster, startCluster } from "./support/cluster.ts";
import { type SourceRepo, sourceRepo } from "./support/repo.ts";

interface Place {
  readonly host: string;
  readonly port: number;
}
type Table = Readonly<Record<string, Readonly<Record<string, readonly Place[]>>>>;

const EXAMPLE = path.resolve(import.meta.dirname, "../examples/webapp");
const MANIFEST = `
app: webapp
processes:
  http:
    run: node web.js
    listen: auto
    health: /up
    on: role=web
    after: [say]
  say:
    run: node say.js
    listen: { say: { port: auto } }
    on: role=say
`;

/** web.js and say.js of the example, with a say service whose version can be heard. */
async function version(greeting: string, humans: string): Promise<Record<string, string>> {
  const web = await fs.readFile(path.join(EXAMPLE, "web.js"), "utf8");
  const say = await fs.readFile(path.join(EXAMPLE, "say.js"), "utf8");
  return {
    "web.js": web.replace('"beep boop"', JSON.stringify(greeting)),
    "say.js": say.replaceAll("ALL HUMANS", humans),
  };
}

async function tableOf(cluster: Cluster): Promise<Table> {
  return JSON.parse((await cluster.ok("ports", "--by", "commit")).stdout) as Table;
}

async function textAt(place: Place | undefined, where: string): Promise<string> {
  assert.ok(place);
  const { status, text } = await get(`http://${place.host}:${place.port}${where}`);
  assert.equal(status, 200, text);
  return text;
}

async function pushed(
  cluster: Cluster,
  repo: SourceRepo,
  files: Readonly<Record<string, string>>,
): Promise<string> {
  const commit = await repo.commit(files);
  await cluster.okGit(repo.dir, "push", cluster.gitUrl("webapp"), "master");
  return commit;
}

/** From the second node on it is the same story, however the nodes know what to run. */
async function tellStory(cluster: Cluster, extra: Readonly<Record<string, string>>): Promise<void> {
  const repo = await sourceRepo(path.join(cluster.dir, "src/webapp"));
  const deploy = ["deploy", "webapp", "--all-at-once", "--bake", "0s"];

  const first = await pushed(cluster, repo, { ...(await version("beep boop", "ALL HUMANS")), ...extra });
  // Not from the repository: the commit comes from the hub.
  await cluster.ok(...deploy, "--version", first);
  const before = await tableOf(cluster);
  assert.deepEqual(Object.keys(before), [first]);
  assert.deepEqual(Object.keys(before[first] ?? {}).toSorted(), ["http", "say"]);
  for (const places of Object.values(before[first] ?? {})) {
    assert.equal(places.length, 1);
    assert.deepEqual(Object.keys(places[0] ?? {}), ["host", "port"]);
  }
  const oldHttp = before[first]?.["http"]?.[0];
  assert.equal(await textAt(oldHttp, "/"), "beep boop\n");
  assert.equal(await textAt(oldHttp, "/HUG"), "HUG ALL HUMANS\n");

  const second = await pushed(cluster, repo, await version("beepity boop!", "EVERY HUMAN"));
  await cluster.okIn(repo.dir, ...deploy, "--version", second, "--keep-old");
  const both = await tableOf(cluster);
  assert.deepEqual(both[first], before[first], "the first version stayed where it was");
  const newHttp = both[second]?.["http"]?.[0];
  assert.equal(await textAt(newHttp, "/"), "beepity boop!\n");
  assert.equal(await textAt(newHttp, "/BEFRIEND"), "BEFRIEND EVERY HUMAN\n");
  assert.equal(await textAt(oldHttp, "/"), "beep boop\n");
  assert.equal(await textAt(oldHttp, "/HUG"), "HUG ALL HUMANS\n", "each talks to the say of its own version");

  const release = await cluster.json("releases", "webapp");
  const listed = release["releases"] as { id: string; commit: string; nodes: string[] }[];
  const names = cluster.nodes.map(({ name }) => name).sort();
  assert.deepEqual(
    listed.map(({ nodes }) => nodes.toSorted()),
    [names, names],
    "both serve",
  );
  const tables = [await cluster.json("ports"), await cluster.json("ports", "webapp")];
  assert.deepEqual(tables[1]?.["ports"], tables[0]?.["ports"]);
  const oldRelease = listed.find((r) => r.commit === first);
  assert.ok(oldRelease);
  await cluster.ok("stop", `webapp@${oldRelease.id.slice(0, 8)}`);
  await cluster.until("the old version leaves the table", async () => !(first in (await tableOf(cluster))));
  assert.deepEqual(await tableOf(cluster), { [second]: both[second] }, "the second one was not touched");
  await assert.rejects(textAt(oldHttp, "/"), { code: "ECONNREFUSED" });
  assert.equal(await textAt(newHttp, "/BEFRIEND"), "BEFRIEND EVERY HUMAN\n");
}

test("propagit's story with each agent running its own command (long)", async (t) => {
  await using cluster = await startCluster({ signal: t.signal });
  await cluster.addNode("say", { command: ["node", "say.js"] });
  await cluster.addNode("http", { command: ["node", "web.js"] });
  await tellStory(cluster, {});
});

test("propagit's story with the manifest's processes and selectors", async (t) => {
  await using cluster = await startCluster({ signal: t.signal });
  await cluster.addNode("a", { labels: { role: "say" } });
  await cluster.addNode("b", { labels: { role: "web" } });
  await tellStory(cluster, { "skein.yaml": MANIFEST });
});
