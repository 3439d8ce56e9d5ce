/** What dies, comes back or was never there, end to end: hubs, agents, whole machines, identities. */
import assert from "node:assert/strict";
import fs from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";
import type { Digest } from "../src/lib/text/ids.ts";
import { nodeUnits } from "../src/cli/units/units.ts";
import { firstAnswer, get } from "./support/answers.ts";
import { Asker, FAST, nextPort, RUN, serverSource as server, urlOf, writeSource } from "./support/apps.ts";
import { type AgentProcess, type Cluster, joinLineIn, startCluster } from "./support/cluster.ts";
import { tested } from "./support/program.ts";
import { refused, resultEvent } from "./support/refusals.ts";
import { eventually } from "../src/lib/testing/eventually.fixture.ts";

const LAUNCHER = path.join(tested.helperDir, "skein");
const NAMES = ["a", "b", "c"] as const;

let cluster: Cluster;
let stop: AbortController;

before(async () => {
  stop = new AbortController();
  cluster = await startCluster({ signal: stop.signal });
  await cluster.addNodes(Object.fromEntries(NAMES.map((name) => [name, { labels: { role: "web" } }])));
});

after(async () => {
  stop.abort();
  await cluster[Symbol.asyncDispose]();
});

interface Version {
  readonly targets?: string;
  /** More of the manifest. */
  readonly more?: string;
  readonly files?: Readonly<Record<string, string>>;
}

const ports = new Map<string, number>();

/** The folder of a version whose answer is `APP VERSION`. */
async function folder(app: string, version: string, options: Version = {}): Promise<string> {
  const { targets = "role=web", more = "", files = {} } = options;
  const port = ports.get(app) ?? nextPort();
  ports.set(app, port);
  return await writeSource(cluster, `${app}-${version}`, {
    "skein.yaml": `app: ${app}\ntargets: ${targets}\n${RUN.replace("auto", String(port))}${more}`,
    "server.js": server(`${app} ${version}`),
    ...files,
  });
}

async function deployed(app: string, version: string, options: Version = {}): Promise<void> {
  await cluster.ok("deploy", "--from", await folder(app, version, options), ...FAST);
}

async function answerAt(url: string): Promise<string> {
  return (await get(url)).text;
}

async function urls(app: string, nodes: readonly string[] = NAMES): Promise<string[]> {
  return await Promise.all(nodes.map(async (node) => await urlOf(cluster, app, node)));
}

function node(name: string): AgentProcess {
  const found = cluster.nodes.find((one) => one.name === name);
  assert.ok(found);
  return found;
}

/** Digest of the app's newest order. */
async function headOf(app: string): Promise<Digest> {
  const { client } = await cluster.operator();
  const [view] = await client.app(app, "default", stop.signal);
  assert.ok(view?.head);
  return view.head.digest;
}

/** Names of the nodes that are done with the app's newest order. */
async function endedNodes(app: string): Promise<string[]> {
  const { client } = await cluster.operator();
  const digest = await headOf(app);
  const { nodes } = await client.rollout(digest, stop.signal);
  return nodes.filter(({ verdict }) => verdict !== null).map(({ name }) => name);
}

/** One node after the other: a first, and the others when there is such a file. */
const slowly = (flag: string, then = ""): string =>
  `strategy: { batch: 1, bake: 0s }\nhooks: { pre_jump: { run: "[ $SKEIN_NODE = a ] || until [ -e ${flag} ]; do sleep 0.05; done${then}" } }\n`;

test("a hub that is killed in the middle of a rollout ends it as ordered when it is back", async () => {
  await deployed("paced", "v1");
  const before = await urls("paced");
  const askers = before.map((url) => new Asker(url, ["paced v1", "paced v2"]));
  try {
    const [more, flag] = [path.join(cluster.dir, "more"), path.join(cluster.dir, "fail")];
    const v2 = await folder("paced", "v2", { more: slowly(more) });
    await cluster.ok("deploy", "--from", v2, "--detach");
    await cluster.until("the first node is done", async () => (await endedNodes("paced")).length > 0);
    await cluster.hub.kill();
    const halfway = await Promise.all(before.map(answerAt));
    assert.ok(halfway.includes("paced v1"), "not all of them had it when the hub died");
    await cluster.hub.start();
    await fs.writeFile(more, "");
    await cluster.ok("watch", "paced");
    assert.deepEqual(await Promise.all(before.map(answerAt)), ["paced v2", "paced v2", "paced v2"]);

    // The third version fails on the last node only: it is undone everywhere, also by a hub that was away.
    const v3 = await folder("paced", "v3", { more: slowly(flag, "; [ $SKEIN_NODE != c ]") });
    for (const asker of askers) asker.unharmed();
    await cluster.ok("deploy", "--from", v3, "--detach");
    await cluster.until("the first node is done", async () => (await endedNodes("paced")).length > 0);
    await cluster.hub.restart();
    await fs.writeFile(flag, "");
    const watched = resultEvent(await cluster.skein(["--json", "watch", "paced"]));
    assert.deepEqual([watched.exit, watched.error?.code], [3, "DEPLOY_FAILED"]);
    assert.equal(watched.error?.data["node"], "c");
    assert.deepEqual(await Promise.all(before.map(answerAt)), ["paced v2", "paced v2", "paced v2"]);
  } finally {
    for (const asker of askers) await asker[Symbol.asyncDispose]();
  }
});

test("a hub that is not told where to listen listens where the charter in its store says", async () => {
  await cluster.hub.kill();
  await cluster.hub.start([]);
  assert.match((await cluster.ok("node", "ls")).stdout, /present/);
});

test("an agent that is killed in the middle of a deployment goes on by itself (long)", async () => {
  const hook = (stage: string): string =>
    `hooks: { ${stage}: { run: "touch $SKEIN_DATA/in-${stage}; sleep 0.5" } }\n`;
  const targets = "name=a";
  await deployed("killed", "v1", { targets });
  await using asker = new Asker(await urlOf(cluster, "killed"), [
    "killed v1",
    "killed v2",
    "killed v3",
    "killed v4",
  ]);
  const agent = node("a");
  const stages = ["post_sync", "pre_jump", "post_jump"] as const;
  for (const [i, stage] of stages.entries()) {
    const version = `v${i + 2}`;
    const source = await folder("killed", version, { targets, more: hook(stage) });
    await cluster.ok("deploy", "--from", source, ...FAST, "--detach");
    const mark = path.join(agent.home, "lib/apps/killed/data", `in-${stage}`);
    await cluster.until(`the hook ${stage} runs`, async () => await exists(mark));
    await agent.restart("SIGKILL");
    await cluster.ok("watch", "killed");
    assert.equal(await answerAt(asker.url), `killed ${version}`, stage);
  }
  asker.unharmed();
});

test("a node that was away during a deployment converges when it comes, and a late one gets what stands", async () => {
  await deployed("late", "v1");
  const url = await urlOf(cluster, "late", "c");
  await node("c").kill("SIGTERM");
  assert.ok((await node("c").records()).some(({ msg }) => msg === "agent ended"));
  await cluster.absent("c");
  await deployed("late", "v2");
  assert.equal(await answerAt(url), "late v1", "what ran there goes on");
  await node("c").start();
  await firstAnswer(url, "late v2", stop.signal);

  await cluster.addNode("d", { labels: { role: "web" } });
  assert.equal(await answerAt(await urlOf(cluster, "late", "d")), "late v2");
  await cluster.addNode("e", { labels: { role: "db" } });
  assert.deepEqual((await cluster.nodeView("e"))?.apps, [], "its labels do not match");
});

test("a machine that was switched off brings everything back with its units' commands, and no hub", async () => {
  const name = "b";
  const agent = node(name);
  const before = (await cluster.ports()).filter((one) => one.nodeName === name && one.port !== null);
  assert.ok(before.length > 0);
  const told = await Promise.all(before.map((one) => answerAt(`http://${one.host}:${one.port}/`)));
  await cluster.hub.kill();
  await agent.powerOff();
  await assert.rejects(answerAt(`http://${before[0]?.host}:${before[0]?.port}/`));

  const agentArgs = ["--address", agent.address];
  for (const unit of nodeUnits({ skein: LAUNCHER, home: agent.home, args: agentArgs })) {
    const [, command = ""] = /^ExecStart=(.*)$/m.exec(unit.text) ?? [];
    const [, home = ""] = /^Environment=SKEIN_HOME=(.*)$/m.exec(unit.text) ?? [];
    assert.equal(home, agent.home);
    const env = cluster.env(home);
    cluster.processes.start("sh", ["-c", `exec ${command}`], { cwd: "/", env, log: agent.log });
  }
  for (const [i, one] of before.entries()) {
    await firstAnswer(`http://${one.host}:${one.port}/`, told[i] ?? "", stop.signal);
  }
  await cluster.hub.start();
  await cluster.present(name);
  await deployed("late", "v3");
  assert.equal(await answerAt(await urlOf(cluster, "late", name)), "late v3");
});

test("a hub restored from yesterday's backup sends no node back, and learns from its agents", async () => {
  const nodes = ["a", "b", "c", "d"];
  await deployed("kept", "v1");
  const backup = path.join(cluster.dir, "yesterday.db");
  const home = cluster.hub.home;
  const made = await cluster.skein(["hub", "backup", backup], { home });
  assert.equal(made.code, 0, made.stderr);
  await deployed("kept", "v2");
  await deployed("new", "v1");
  const heads = new Map([
    ["kept", await headOf("kept")],
    ["new", await headOf("new")],
  ]);
  await using asker = new Asker(await urlOf(cluster, "kept", "a"), ["kept v2", "kept v3"]);

  const busy = await cluster.skein(["--json", "hub", "restore", backup], { home });
  assert.equal(resultEvent(busy).error?.code, "STORE_BUSY", "not under a running hub");
  await cluster.hub.kill();
  const restored = await cluster.skein(["hub", "restore", backup], { home });
  assert.equal(restored.code, 0, restored.stderr);
  await cluster.hub.start();
  for (const name of nodes) await cluster.present(name);

  for (const app of ["kept", "new"]) {
    const version = app === "kept" ? "v2" : "v1";
    await cluster.until(`the hub knows ${app} again`, async () => (await headOf(app)) === heads.get(app));
    for (const url of await urls(app, nodes)) assert.equal(await answerAt(url), `${app} ${version}`);
  }
  await deployed("kept", "v3");
  for (const url of await urls("kept", nodes)) assert.equal(await answerAt(url), "kept v3");
  asker.unharmed();
});

test("a command that begins while its hub is away says so, and asks again for some seconds (long)", async () => {
  await cluster.ok("status");
  await cluster.hub.kill();
  const { code, stdout, stderr } = await cluster.skein(["status"]);
  assert.deepEqual([code, stdout], [1, ""]);
  assert.equal(stderr.match(/The hub does not answer \(.*\): it may be restarting/g)?.length, 1, stderr);
  assert.match(stderr, /HUB_UNREACHABLE/);
  await cluster.hub.start();
  await cluster.ok("status");
});

test("a node holds one environment of an app; another one is refused", async () => {
  await deployed("single", "v1", { targets: "name=a" });
  const source = await folder("single", "v2", { targets: "name=a" });
  const args = ["deploy", "--from", source, ...FAST, "--env", "staging"];
  const error = await refused(cluster, [3, "DEPLOY_FAILED"], args);
  assert.equal(error.data["cause"], "ENV_CONFLICT");
  assert.match(error.message, /failed on a/);
  assert.match(error.hint, /skein logs single --env staging --on a$/);
  const status = (await cluster.ok("status", "single")).stdout;
  assert.match(
    status,
    /staging {2}undone\n {2}a +- +refused +ENV_CONFLICT this node holds single in default/,
  );
  for (const all of [["status"], ["list"], ["list", "versions"]]) {
    const { stdout } = await cluster.ok(...all);
    assert.match(stdout, /single/);
    assert.doesNotMatch(stdout, /staging/, "nothing is left of the mistake");
  }
  assert.match(
    (await cluster.ok("list", "--env", "staging")).stdout,
    /single +staging/,
    "unless it is named",
  );
  assert.equal(await answerAt(await urlOf(cluster, "single")), "single v1");
});

test("what some nodes could not do, as they hold another environment, is refused before any does it", async () => {
  await deployed("split", "v1", { targets: "name=a" });
  const source = await folder("split", "v1", { targets: "name=b" });
  await cluster.ok("deploy", "--from", source, ...FAST, "--env", "staging");
  for (const verb of ["stop", "start", "restart", "rollback"]) {
    const error = await refused(cluster, [1, "ENV_CONFLICT"], [verb, "split", "--on", "a | b"]);
    assert.equal(error.message, "b holds split in staging, and this is for default: nothing was ordered");
    assert.match(error.hint, /--env staging\. .*--on '\(name=a \| name=b\) & name!=b'\.$/);
  }
  assert.equal(await answerAt(await urlOf(cluster, "split", "a")), "split v1");
  await cluster.ok("stop", "split", "--on", "(name=a | name=b) & name!=b");
});

test("an app moves between environments where it is stopped first, or never came up (long)", async () => {
  const targets = "name=b";
  const failing = await folder("moves", "v1", { targets, more: "hooks: { pre_jump: exit 1 }\n" });
  await refused(cluster, [3, "DEPLOY_FAILED"], ["deploy", "--from", failing, ...FAST]);
  for (const [env, version] of [
    ["staging", "v2"],
    ["default", "v3"],
    ["staging", "v4"],
  ] as const) {
    const source = await folder("moves", version, { targets });
    await cluster.ok("deploy", "--from", source, ...FAST, "--env", env, "--timeout", "1m");
    assert.equal(await answerAt(await urlOf(cluster, "moves")), `moves ${version}`);
    await cluster.ok("stop", "moves", "--env", env, "--timeout", "1m");
    assert.ok((await cluster.ports()).every(({ app }) => app !== "moves"));
  }
});

test("a node that has not begun yet answers when an order of another environment is taken back", async () => {
  await deployed("waits", "v1");
  await cluster.ok("stop", "waits");
  const failing = await folder("waits", "v2", { more: "hooks: { pre_jump: exit 1 }\n" });
  const began = ["deploy", "--from", failing, "--bake", "0s", "--env", "staging", "--timeout", "60s"];
  await refused(cluster, [3, "DEPLOY_FAILED"], began);
  const { client } = await cluster.operator();
  await cluster.until("all nodes have answered", async () => {
    const [view] = await client.app("waits", "staging", stop.signal);
    assert.ok(view?.head);
    const { nodes } = await client.rollout(view.head.digest, stop.signal);
    return (
      nodes.length > 1 && nodes.every(({ verdict, batch }) => verdict === (batch === 0 ? "failed" : "undone"))
    );
  });
});

/** Starts an agent that must refuse to run. */
async function joinRefused(line: string, code: string): Promise<void> {
  const home = path.join(cluster.dir, `join-${code.toLowerCase()}`);
  const result = await cluster.skein(["--json", "agent", "run", "--join", line, "--address", "127.0.0.1"], {
    home,
  });
  assert.equal(result.code, 4, `${result.stdout}\n${result.stderr}`);
  assert.equal(resultEvent(result).error?.code, code);
}

test("a ticket lets in one node, once, within its time (long)", async () => {
  const used = joinLineIn((await cluster.ok("node", "invite", "f")).stdout);
  const validMs = 5000; // the hub takes none that is over when it comes
  const invited = performance.now();
  const expired = joinLineIn((await cluster.ok("node", "invite", "g", "--valid", `${validMs}ms`)).stdout);
  const f = await cluster.startNode("f", used);
  await joinRefused(used, "TICKET_USED");
  await joinRefused(`${used.slice(0, -4)}AAAA`, "TICKET_BAD");
  const leftMs = invited + validMs + 1000 - performance.now();
  await new Promise((resolve) => setTimeout(resolve, leftMs));
  await joinRefused(expired, "TICKET_EXPIRED");
  await deployed("mine", "v1", { targets: "name=f" });
  const url = await urlOf(cluster, "mine");

  await cluster.ok("node", "rm", "f", "--yes");
  const again = ["deploy", "--from", await folder("mine", "v2", { targets: "name=f" }), ...FAST];
  await refused(cluster, [7, "SELECTION_EMPTY"], again);
  await eventually("the agent learns that it was removed", async () => /REVOKED/.test(await f.printed()));
  assert.equal(await answerAt(url), "mine v1", "what runs there goes on");
});

test("a cloned node: both are told apart, shown, and get no new orders", async () => {
  await deployed("twin", "v1", { targets: "name=e" });
  const original = node("e");
  const url = await urlOf(cluster, "twin");
  const home = path.join(cluster.dir, "clone");
  for (const part of ["etc", "lib"]) {
    await fs.cp(path.join(original.home, part), path.join(home, part), { recursive: true });
  }
  const { command, args } = cluster.program;
  cluster.processes.start(command, [...args, "agent", "run", "--address", `${cluster.network}.99`], {
    cwd: home,
    env: cluster.env(home),
    log: path.join(cluster.dir, "clone.log"),
  });
  await cluster.until("the double is seen", async () => (await cluster.nodeView("e"))?.duplicate === true);
  const shown = await cluster.ok("node", "show", "e");
  assert.match(shown.stdout, /DUPLICATE/);
  const v2 = await folder("twin", "v2", { targets: "name=e" });
  await cluster.ok("deploy", "--from", v2, ...FAST, "--detach");
  await new Promise((resolve) => setTimeout(resolve, 1500));
  await firstAnswer(url, "twin v1", stop.signal);
  assert.deepEqual(await endedNodes("twin"), []);
});

async function exists(file: string): Promise<boolean> {
  return await fs.access(file).then(
    () => true,
    () => false,
  );
}
