/** The cache by hand: `skein cache` on this machine and on a node. */
import assert from "node:assert/strict";
import fs from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";
import { openBucket } from "../src/bucket/bucket.ts";
import { sharedS3Server } from "../src/depot/s3/s3-server.fixture.ts";
import { startCluster, type AgentProcess, type Cluster } from "./support/cluster.ts";
import { FAST, writeSource } from "./support/apps.ts";

const s3 = sharedS3Server({ conditional: false });
let cluster: Cluster;
let stop: AbortController;

before(async () => {
  stop = new AbortController();
  cluster = await startCluster({ signal: stop.signal });
});

after(async () => {
  stop.abort();
  await cluster[Symbol.asyncDispose]();
});

async function json(cwd: string, ...args: string[]): Promise<Record<string, unknown>> {
  const { stdout } = await cluster.okIn(cwd, "--json", "cache", ...args);
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as Record<string, unknown>;
}

async function filesIn(dir: string): Promise<string[]> {
  const entries = await fs.readdir(dir, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => path.join(parentPath, name));
}

/** Into a real bucket: every blob arrives, and a second time none is sent. */
async function persistsToS3(source: string): Promise<void> {
  const server = await s3();
  const name = await server.makeBucket();
  const persist = async (): Promise<Record<string, unknown>> => {
    const words = ["--json", "cache", "persist", "--s3-bucket", name];
    const { code, stdout, stderr } = await cluster.skein(words, { cwd: source, env: server.env });
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as Record<string, unknown>;
  };
  const { sent } = await persist();
  using bucket = await openBucket(`s3://${name}`, {
    env: server.env,
    writing: false,
    signal: cluster.signal,
  });
  const names = await Array.fromAsync(bucket.depot.list("", cluster.signal));
  assert.equal(names.length, sent);
  assert.ok(names.some((one) => one.startsWith("packs/")));
  for (const blob of names.filter((one) => one.startsWith("packs/"))) {
    const local = await filesIn(path.join(cluster.operatorHome, "lib/cache", blob));
    assert.ok(local.length > 0, blob);
  }
  assert.equal((await persist())["sent"], 0);
}

test("what is put in comes out, is compared, mended, sent on and removed, here and on a node", async () => {
  const source = await writeSource(cluster, "tool", {
    "skein.yaml": "app: tool\nkind: files\nbuild: tr a-z A-Z < a.txt > made.txt\n",
    "a.txt": "one\n",
    "lib/b.txt": "two\n",
  });
  const put = await json(source, "put");
  assert.equal(put["name"], "tool");
  const out = path.join(cluster.dir, "out");
  await cluster.okIn(source, "cache", "get", "tool", out);
  assert.equal(await fs.readFile(path.join(out, "lib/b.txt"), "utf8"), "two\n");
  assert.equal(await fs.readFile(path.join(out, "made.txt"), "utf8"), "ONE\n");
  assert.deepEqual(await cluster.okIn(source, "cache", "diff").then(({ code }) => code), 0);

  await fs.writeFile(path.join(source, "a.txt"), "another\n");
  await fs.writeFile(path.join(source, "new.txt"), "new\n");
  await fs.rm(path.join(source, "lib/b.txt"));
  const diff = await cluster.skein(["cache", "diff"], { cwd: source });
  assert.equal(diff.code, 10);
  assert.deepEqual(diff.stdout.trim().split(/\n/), [
    "missing    new.txt",
    "extra      lib/b.txt",
    "different  a.txt",
    "different  made.txt",
  ]);
  assert.equal((await json(source, "update"))["changed"], true);
  assert.equal((await json(source, "update"))["changed"], false);

  const [pack = ""] = (await filesIn(path.join(cluster.operatorHome, "lib/cache/packs"))).sort();
  await flipBit(pack);
  const repaired = await json(source, "repair", "--rebuild");
  assert.equal((repaired["damaged"] as string[]).length, 1);
  assert.equal(repaired["same"], true);
  assert.deepEqual((await json(source, "repair"))["damaged"], []);
  await fs.writeFile(path.join(source, "a.txt"), "one more\n");
  assert.equal((await json(source, "repair", "--rebuild"))["same"], false);

  const bucket = path.join(cluster.dir, "bucket");
  assert.ok(((await json(source, "persist", `dir:${bucket}`))["sent"] as number) >= 4);
  assert.equal((await json(source, "persist", "--s3-bucket", `dir:${bucket}`))["sent"], 0);

  await persistsToS3(source);

  const node = await cluster.addNode("n1");
  await cluster.okIn(source, "cache", "persist", "n1");
  const there = await cluster.okIn(source, "cache", "diff", "--address", node.address);
  assert.match(there.stdout, /^n1 {2}same$/m);
  await fs.rm(path.join(cluster.operatorHome, "lib/cache/packs"), { recursive: true });
  const far = path.join(cluster.dir, "far");
  await cluster.okIn(source, "cache", "get", "tool", far, "--on", "n1");
  assert.equal(await fs.readFile(path.join(far, "new.txt"), "utf8"), "new\n");
  await fs.rm(path.join(cluster.operatorHome, "lib/cache/packs"), { recursive: true });
  const elsewhere = `dir:${path.join(cluster.dir, "elsewhere")}`;
  const sentOn = await json(source, "persist", elsewhere, "--address", "n1");
  assert.ok((sentOn["sent"] as number) >= 4, "from the node's cache: there is none here");
  assert.match((await cluster.ok("cache", "repair", "--on", "n1")).stdout, /^n1 {2}whole$/m);
  await isBroughtUpToDate(source, path.join(node.home, "lib/cache/packs"));
  await isCollected(node);
  assert.match((await cluster.ok("cache", "flush", "--on", "all")).stdout, /^n1 {2}.*B freed$/m);
  assert.equal((await cluster.skein(["cache", "diff", "--address", "n1"], { cwd: source })).code, 10);
  const flushed = await cluster.skein(["cache", "get", "tool", `${far}2`, "--address", "n1"], {
    cwd: source,
  });
  assert.match(flushed.stderr, /the cache of n1 does not hold all of tool.*\n.*skein cache persist n1/);
  assert.equal(flushed.code, 1, flushed.stderr);

  await cluster.ok("cache", "gc", "count", "0");
  assert.deepEqual(await filesIn(path.join(cluster.operatorHome, "lib/cache/packs")), []);
  await cluster.ok("cache", "flush");
  const gone = await cluster.skein(["cache", "get", "tool", path.join(cluster.dir, "again")]);
  assert.equal(gone.code, 7, gone.stderr);
});

/** By age and by number, with dashes and without, on a node and here: what is needed or used stays. */
async function isCollected(node: AgentProcess): Promise<void> {
  const freed = async (...words: string[]): Promise<string> => {
    const { stdout } = await cluster.ok("cache", "gc", ...words);
    return /([\d.]+ \w*B) freed$/m.exec(stdout)?.[1] ?? assert.fail(stdout);
  };
  const packsOf = async (home: string): Promise<number> =>
    (await filesIn(path.join(home, "lib/cache/packs"))).length;
  for (const [home, ...where] of [[node.home, "--address", "n1"], [cluster.operatorHome]] as const) {
    const before = await packsOf(home);
    assert.ok(before > 0, home);
    assert.equal(await freed("older", "1d", ...where), "0 B");
    assert.equal(await packsOf(home), before);
    assert.notEqual(await freed("--older", "1ms", ...where), "0 B");
    assert.equal(await packsOf(home), 0);
  }
}

/** What a node has is told of the node, whatever this machine has. */
async function isBroughtUpToDate(source: string, packs: string): Promise<void> {
  const told = async (...words: string[]): Promise<string> =>
    (await cluster.okIn(source, "cache", ...words, "--on", "n1")).stdout;
  await fs.writeFile(path.join(source, "a.txt"), "and more\n");
  await cluster.okIn(source, "cache", "put");
  assert.equal(await told("update"), "n1  updated\n");
  const [pack = ""] = (await filesIn(packs)).sort();
  await flipBit(pack);
  assert.equal(await told("repair", "--rebuild"), "n1  1 mended\nn1  as built from scratch\n");
  await fs.writeFile(path.join(source, "a.txt"), "and yet more\n");
  assert.equal(await told("repair", "--rebuild"), "n1  whole\nn1  differed from a build from scratch\n");
}

async function flipBit(file: string): Promise<void> {
  const bytes = await fs.readFile(file);
  bytes.writeUInt8(bytes.readUInt8(60) ^ 1, 60);
  await fs.writeFile(file, bytes);
}

test("a node that is away holds up nothing that the others are asked, and is told of (long)", async () => {
  const here = cluster.nodes[0] ?? (await cluster.addNode("n1"));
  const away = await cluster.addNode("n2");
  const version = async (text: string): Promise<string> =>
    await writeSource(cluster, "kit", { "skein.yaml": "app: kit\nkind: files\n", "a.txt": text });
  for (const text of ["a", "b", "c"]) await cluster.ok("deploy", "--from", await version(text), ...FAST);
  const source = await version("d");
  await away.kill();
  const silent = async (...words: string[]): Promise<string> => {
    const { code, stdout, stderr } = await cluster.skein([...words, "--on", "all"], { cwd: source });
    assert.equal(code, 5, stderr);
    assert.match(stderr, /no answer from n2; the other node did it[^]*NODES_SILENT/);
    return stdout;
  };
  await silent("cache", "put");
  const there = await cluster.okIn(source, "cache", "diff", "--address", here.address);
  assert.match(there.stdout, /^n1 {2}same$/m);
  assert.match(await silent("cache", "ls"), /^n1 {2}[1-9]\d* blobs/);
  assert.match(await silent("cache", "repair"), /^n1 {2}whole$/m);
  assert.match(await silent("cache", "flush"), /^n1 {2}.*B freed$/m);
  assert.match(await silent("gc", "--count", "0"), /^n1 {2}kit@[0-9a-f]{8} removed$/m);
});
