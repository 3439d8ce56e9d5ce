/** A hub that is restored from a backup, and what its agents, real ones, then tell it of the cluster's members. */
import assert from "node:assert/strict";
import fs from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";
import type { AppView } from "../src/api/schemas.ts";
import { FAST, nextPort, RUN, serverSource, urlOf, writeSource } from "./support/apps.ts";
import { firstAnswer } from "./support/answers.ts";
import { type AgentProcess, type Cluster, startCluster } from "./support/cluster.ts";

let cluster: Cluster;
let stop: AbortController;

before(async () => {
  stop = new AbortController();
  cluster = await startCluster({ signal: stop.signal });
  const web = { labels: { role: "web" } };
  await cluster.addNodes({ a: web, b: web, c: web });
});

after(async () => {
  stop.abort();
  await cluster[Symbol.asyncDispose]();
});

const port = nextPort();
/** One node after the other: a first, and the other when there is such a file. */
const slowly = (flag: string): string =>
  `strategy: { batch: 1, bake: 0s }\nhooks: { pre_jump: { run: "[ $SKEIN_NODE = a ] || until [ -e ${flag} ]; do sleep 0.05; done" } }\n`;

/** The folder of a version. */
async function source(version: string, more = ""): Promise<string> {
  const manifest = `app: shop\ntargets: role=web\n${RUN.replace("auto", String(port))}${more}`;
  const files = { "skein.yaml": manifest, "server.js": serverSource(`shop ${version}`) };
  return await writeSource(cluster, version, files);
}

async function deployed(version: string): Promise<void> {
  await cluster.ok("deploy", "--from", await source(version), ...FAST);
}

async function shop(): Promise<AppView | undefined> {
  const { client } = await cluster.operator();
  return (await client.app("shop", "default", stop.signal))[0];
}

const headOf = async (): Promise<string | undefined> => (await shop())?.head?.digest;

/** Of each node, whether it is done with the newest order. */
async function done(): Promise<boolean[]> {
  const { client } = await cluster.operator();
  const { nodes } = await client.rollout((await headOf()) ?? "", stop.signal);
  return nodes.map(({ verdict }) => verdict !== null);
}

/** The hub knows this order, and of all its nodes what they did. */
async function untilTold(order: string | undefined): Promise<void> {
  const isTold = async (): Promise<boolean> => (await headOf()) === order && (await done()).every(Boolean);
  await cluster.until("the nodes have said what they did", isTold).catch(async (err: unknown) => {
    const { client } = await cluster.operator();
    const { nodes } = await client.rollout((await headOf()) ?? "", stop.signal);
    const living = cluster.nodes.filter(({ name }) => nodes.some((one) => one.name === name));
    const said = living.map(async (one) => `${one.name}: ${(await one.printed()).slice(-2000)}`);
    throw new Error([JSON.stringify(nodes), ...(await Promise.all(said))].join("\n"), { cause: err });
  });
}

/** Some node is done with the newest order, and not all are. */
const isHalfway = async (): Promise<boolean> => new Set(await done()).size === 2;

function node(name: string): AgentProcess {
  const found = cluster.nodes.find((one) => one.name === name);
  assert.ok(found);
  return found;
}

async function backup(name: string): Promise<string> {
  const file = path.join(cluster.dir, name);
  const made = await cluster.skein(["hub", "backup", file], { home: cluster.hub.home });
  assert.equal(made.code, 0, made.stderr);
  return file;
}

async function restore(file: string): Promise<void> {
  await cluster.hub.kill();
  const made = await cluster.skein(["hub", "restore", file], { home: cluster.hub.home });
  assert.equal(made.code, 0, made.stderr);
  await cluster.hub.start();
}

/** Names of all members, with their labels as a person writes them. */
async function members(): Promise<Readonly<Record<string, string>>> {
  const { client } = await cluster.operator();
  const { nodes } = await client.nodes(stop.signal);
  const text = (labels: object): string =>
    Object.entries(labels)
      .map(([key, value]) => `${key}=${value}`)
      .toSorted()
      .join(",");
  return Object.fromEntries(nodes.map(({ name, labels }) => [name, text(labels)]));
}

async function untilMembers(expected: Readonly<Record<string, string>>): Promise<void> {
  const isSo = async (): Promise<boolean> => {
    const found = await members();
    const names = Object.keys(found).toSorted();
    return (
      names.join() === Object.keys(expected).toSorted().join() && names.every((n) => found[n] === expected[n])
    );
  };
  await cluster.until(`the members are ${JSON.stringify(expected)}`, isSo);
}

test("who was removed since the backup stays out, who joined is back, and new labels count (long)", async () => {
  await deployed("v1");
  const yesterday = await backup("yesterday.db");
  await cluster.ok("node", "rm", "b", "--yes");
  await cluster.ok("node", "label", "c", "tier=gold");
  await cluster.addNode("d", { labels: { role: "web" } });
  await deployed("v2");
  const url = await urlOf(cluster, "shop", "d");
  const now = { a: "role=web", c: "role=web,tier=gold", d: "role=web" };
  await untilMembers(now);
  const head = await headOf();

  await restore(yesterday);
  await restore(yesterday); // before the agents have said all
  await untilMembers(now);
  await untilTold(head);
  await deployed("v3");
  await firstAnswer(url, "shop v3", stop.signal);
  await cluster.until("b was told that it is out", async () => /REVOKED/.test(await node("b").printed()));
});

test("what no agent can tell a restored hub, the operator's machine does with its next command (long)", async () => {
  const before = { a: "role=web", c: "role=web,tier=gold", d: "role=web" };
  await untilMembers(before);
  const file = await backup("before.db");
  // Nobody is there to hear of it but the one that is removed.
  for (const name of ["a", "d"]) await node(name).kill();
  await cluster.ok("node", "label", "a", "tier=silver");
  await cluster.ok("node", "rm", "c", "--yes");
  await restore(file);
  await cluster.present("c");
  assert.deepEqual(await members(), before);

  assert.doesNotMatch((await cluster.ok("node", "ls")).stdout, /gold/);
  const now = { a: "role=web,tier=silver", d: "role=web" };
  assert.deepEqual(await members(), now);
  for (const name of Object.keys(now)) await node(name).start();
  await untilMembers(now);
});

test("an agent that comes long after a restore still tells what it holds (long)", async () => {
  const file = await backup("older.db");
  await deployed("v4");
  const { client } = await cluster.operator();
  const head = await headOf();
  for (const name of ["a", "d"]) await node(name).kill();
  await restore(file);
  assert.notEqual(await headOf(), head);
  await cluster.until("the hub waits no longer", async () => !(await client.hub(stop.signal)).catchingUp);
  await node("a").start();
  await cluster.until("the hub knows the order again", async () => (await headOf()) === head);
  await node("d").start();
  await untilTold(head);
  await deployed("v5");
  await firstAnswer(await urlOf(cluster, "shop", "a"), "shop v5", stop.signal);
});

test("a hub that is restored while a rollout goes on ends it, and what was deployed stands (long)", async () => {
  const file = await backup("halfway.db");
  const isSettled = async (): Promise<boolean> => {
    const view = await shop();
    return view?.head?.digest === view?.standing?.digest;
  };
  // Attached, the command waits for the hub and says again what that has forgotten.
  const [first, second] = ["first", "second"].map((name) => path.join(cluster.dir, name)) as [string, string];
  const attached = cluster.skein(["deploy", "--from", await source("v6", slowly(first))]);
  const early = attached.then((result) => assert.fail(`it ended with ${result.code}: ${result.stderr}`));
  await Promise.race([cluster.until("it is halfway", isHalfway), early]);
  await restore(file);
  await fs.writeFile(first, "");
  const { code, stdout, stderr } = await attached;
  assert.equal(code, 0, stderr);
  assert.match(stdout, /runs on 2 nodes/);
  await cluster.until("it stands", isSettled);

  // Detached, the next command about the app does.
  const again = await backup("again.db");
  await cluster.ok("deploy", "--from", await source("v7", slowly(second)), "--detach");
  await cluster.until("it is halfway", isHalfway);
  const head = (await shop())?.head?.digest;
  await restore(again);
  await fs.writeFile(second, "");
  await cluster.until("the hub knows the order again", async () => (await shop())?.head?.digest === head);
  assert.equal(await isSettled(), false);
  await cluster.ok("watch", "shop");
  await cluster.until("it stands", isSettled);
});

test("a store that lost its last minutes without being restored learns the same (long)", async () => {
  const store = path.join(cluster.hub.home, "lib/hub");
  const earlier = path.join(cluster.dir, "earlier");
  await cluster.hub.kill("SIGTERM");
  await fs.cp(store, earlier, { recursive: true });
  await cluster.hub.start();
  await cluster.present("a");
  await cluster.ok("node", "label", "a", "tier=iron");
  await cluster.ok("node", "rm", "d", "--yes");
  await cluster.addNode("e", { labels: { role: "web" } });
  await deployed("v8");
  const now = { a: "role=web,tier=iron", e: "role=web" };
  await untilMembers(now);
  const head = (await shop())?.head?.digest;

  await cluster.hub.kill();
  await fs.rm(store, { recursive: true });
  await fs.rename(earlier, store);
  await cluster.hub.start();
  await untilMembers(now);
  await cluster.until("the hub knows the order again", async () => (await shop())?.head?.digest === head);
  await cluster.ok("watch", "shop");
  await deployed("v9");
  await firstAnswer(await urlOf(cluster, "shop", "e"), "shop v9", stop.signal);
});
