/** What a person says to a rollout that is under way: abort, pause, resume; and the way out of one that waits. */
import assert from "node:assert/strict";
import fs from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";
import type { RolloutNode } from "../src/api/schemas.ts";
import { get } from "./support/answers.ts";
import { Asker, nextPort, RUN, serverSource, urlOf, writeSource } from "./support/apps.ts";
import { type AgentProcess, type Cluster, startCluster } from "./support/cluster.ts";
import { refused, refusedInWords, resultEvent } from "./support/refusals.ts";

const NAMES = ["a", "b", "c"] as const;
const port = nextPort();
let cluster: Cluster;
let stop: AbortController;
let urls: readonly string[];

before(async () => {
  stop = new AbortController();
  cluster = await startCluster({ signal: stop.signal });
  await cluster.addNodes(Object.fromEntries(NAMES.map((name) => [name, {}])));
  await cluster.ok("deploy", "--from", await folder("v1", "0s", "true"), "--all-at-once");
  urls = await Promise.all(NAMES.map(async (node) => await urlOf(cluster, "paced", node)));
});

after(async () => {
  stop.abort();
  await cluster[Symbol.asyncDispose]();
});

/** One node after the other, each long enough to say something in between. */
async function folder(version: string, bake = "1m", hook = "sleep 0.6"): Promise<string> {
  return await writeSource(cluster, version, {
    "skein.yaml": `app: paced
${RUN.replace("auto", String(port))}strategy: { batch: 1, bake: ${bake} }
hooks: { pre_jump: { run: "${hook}" } }
`,
    "server.js": serverSource(version),
  });
}

async function answers(): Promise<string[]> {
  return await Promise.all(urls.map(async (url) => (await get(url)).text));
}

async function untilAnswers(...expected: string[]): Promise<void> {
  await cluster.until(expected.join(), async () => (await answers()).join() === expected.join());
}

function node(name: string): AgentProcess {
  const found = cluster.nodes.find((one) => one.name === name);
  assert.ok(found);
  return found;
}

async function rolloutNodes(): Promise<readonly RolloutNode[]> {
  const { client } = await cluster.operator();
  const [view] = await client.app("paced", "default", stop.signal);
  assert.ok(view?.head);
  return (await client.rollout(view.head.digest, stop.signal)).nodes;
}

test("a paused rollout begins nowhere else, and goes on when it is told to", async () => {
  const flag = path.join(cluster.dir, "paused");
  const v2 = await folder("v2", "0s", `[ $SKEIN_NODE = a ] || until [ -e ${flag} ]; do sleep 0.05; done`);
  await cluster.ok("deploy", "--from", v2, "--detach");
  await untilAnswers("v2", "v1", "v1");
  await cluster.ok("pause", "paced");
  await cluster.ok("pause", "paced");
  const { apps } = (await cluster.json("status", "paced")) as { apps: { phase: string }[] };
  assert.equal(apps[0]?.phase, "paused");
  const held = await refused(cluster, [6, "DEPLOY_IN_PROGRESS"], ["deploy", "--from", v2]);
  assert.match(held.message, /is paused and waits for b, c$/);
  assert.match(held.hint, /skein resume paced/);
  await fs.writeFile(flag, "");
  assert.equal((await answers())[2], "v1");
  const resumed = await cluster.ok("resume", "paced");
  assert.match(resumed.stdout, /paced@[0-9a-f]{8} runs/);
  assert.deepEqual(await answers(), ["v2", "v2", "v2"]);
  await Promise.all([
    refused(cluster, [1, "ROLLOUT_ENDED"], ["pause", "paced"]),
    refused(cluster, [1, "ROLLOUT_ENDED"], ["resume", "paced"]),
    refused(cluster, [1, "UNDO_TOO_LATE"], ["abort", "paced"]),
  ]);
});

test("an aborted rollout is back everywhere, nothing lost, and its own command hears of it", async () => {
  const askers = urls.map((url) => new Asker(url, ["v2", "v3"]));
  const deploying = cluster.skein(["--json", "deploy", "--from", await folder("v3")]);
  await cluster.until("the first node is done", async () => (await answers())[0] === "v3");
  const aborted = await cluster.ok("abort", "paced");
  assert.match(aborted.stdout, /^paced@[0-9a-f]{8} was taken back: paced@[0-9a-f]{8} serves$/m);
  const { exit, error } = resultEvent(await deploying);
  assert.deepEqual([exit, error?.code], [3, "DEPLOY_FAILED"]);
  assert.match(error?.message ?? "", /aborted by an operator/);
  assert.deepEqual(await answers(), ["v2", "v2", "v2"]);
  await cluster.ok("drift", "paced"); // nodes that went back are where they should be
  const status = (await cluster.ok("status", "paced")).stdout;
  assert.equal(/not isolated/.test(status), process.getuid?.() !== 0);
  assert.match(status, /^paced@[0-9a-f]{8} {2}default {2}undone, paced@[0-9a-f]{8} is in force$/m);
  const list = (await cluster.ok("list")).stdout;
  assert.match(list, /^paced {2}default {2}(paced@[0-9a-f]{8}) {2}(?!\1)paced@[0-9a-f]{8} undone {2}3\/3/m);
  const releases = (await cluster.ok("releases", "paced")).stdout;
  assert.match(
    releases,
    /^RELEASE .* RUNS ON\n(?:.* -\n)*.* 3\n/,
    "on all three nodes, and no other release on any",
  );
  await cluster.until("none of them differs", async () => {
    return !(await cluster.ok("status", "paced")).stdout.includes("differs");
  });
  for (const words of [["status"], ["list"], ["list", "versions"], ["ports"]]) {
    const { stdout } = await cluster.ok(...words, "--on", "b");
    assert.match(stdout, /\bb\b/);
    assert.doesNotMatch(stdout, /^( *|paced\S* +\S+ +)[ac]\b/m, `${words.join(" ")} tells of others`);
  }
  for (const asker of askers) {
    asker.unharmed();
    await asker[Symbol.asyncDispose]();
  }
});

test("what crashes, or fails its live check, while all is watched is taken back everywhere (long)", async () => {
  const live = "live: { http: /live, every: 500ms, fails: 1 }";
  const frail = async (text: string, then = "", more = ""): Promise<string> =>
    await writeSource(cluster, "frail", {
      "skein.yaml": `app: frail\nrun: node server.js\nlisten: auto\nstrategy: { batch: 100%, bake: 1m }
health: { ready: { http: /, every: 50ms }, ${more} }\n`,
      "server.js": `let ill = false;\n${then}\nrequire("node:http").createServer((q, r) => {
  r.statusCode = ill && q.url === "/live" ? 500 : 200;
  r.end("${text}");
}).listen(process.env.PORT, process.env.HOST);\n`,
    });
  await cluster.ok("deploy", "--from", await frail("good"), "--bake", "0s");
  const { client } = await cluster.operator();
  const whenWatched = async (text: string, what: string, more = ""): Promise<string> => {
    const flag = path.join(cluster.dir, text);
    const then = `setInterval(() => { if (require("node:fs").existsSync(${JSON.stringify(flag)})) { ${what} } }, 50);`;
    const source = await frail(text, `if (process.env.SKEIN_NODE === "b") ${then}`, more);
    const deploying = refusedInWords(cluster, [3, "DEPLOY_FAILED"], ["deploy", "--from", source]);
    await cluster.until("all are done and are watched", async () => {
      const [app] = await client.app("frail", "default", stop.signal);
      return app?.head !== null && app?.phase === "baking";
    });
    await fs.writeFile(flag, "");
    return await deploying;
  };
  // Without a live check: one that is under way would fail first, and be what is told.
  const said = await whenWatched("crashes", "process.exit(7)");
  assert.match(said, /^error frail failed on b: web\.1 ended by itself \(exit status 7\)/m);
  assert.match(said, /It was undone: frail@[0-9a-f]{8} serves/);
  const ill = await whenWatched("ill", "ill = true", live);
  assert.match(ill, /^error frail failed on b: web\.1 was replaced: .*500/m);
  await cluster.until("all are back", async () => {
    const ports = (await cluster.ports()).filter(({ app }) => app === "frail");
    const texts = ports.map(async ({ host, port }) => (await get(`http://${host}:${port}/`)).text);
    return (await Promise.all(texts)).join() === "good,good,good";
  });
  await cluster.ok("stop", "frail");
});

test("what was said to one node alone is about that node, and the next thing about all of them again (long)", async () => {
  const calm = await writeSource(cluster, "calm", {
    "skein.yaml": `app: calm\n${RUN}strategy: { batch: 100%, bake: 0s }\n`,
    "server.js": serverSource("one"),
  });
  await cluster.ok("deploy", "--from", calm);
  const meant = (stderr: string): string | undefined => /^nodes {2}(\S+): /m.exec(stderr)?.[1];
  assert.equal(meant((await cluster.ok("stop", "calm", "--on", "b")).stderr), "name=b");
  assert.equal((await cluster.ok("drift", "calm")).stdout, "a  OK\nb  OK\nc  OK\n");
  assert.match(
    (await cluster.ok("status", "calm")).stdout,
    /^calm@[0-9a-f]{8} {2}default {2}ok$/m,
    "two run it",
  );
  assert.equal(meant((await cluster.ok("restart", "calm", "--on", "c")).stderr), "name=c");
  await cluster.ok("repair", "calm");
  await cluster.until("b is stopped, as it was told", async () =>
    /^ {2}b {2}- +stopped/m.test((await cluster.ok("status", "calm")).stdout),
  );
  const verified = (await cluster.skein(["verify", "calm"])).stdout;
  assert.deepEqual(verified.match(/^[abc](?= )/gm)?.toSorted(), ["a", "b", "c"], verified);
  assert.equal(meant((await cluster.ok("start", "calm")).stderr), "all");
  await fs.writeFile(path.join(calm, "server.js"), serverSource("two"));
  await cluster.ok("stop", "calm", "--on", "b");
  assert.equal(meant((await cluster.ok("deploy", "--from", calm)).stderr), "all");
  await cluster.ok("stop", "calm", "--on", "b");
  assert.equal(meant((await cluster.ok("rollback", "calm")).stderr), "all");
  // Another release is for those alone that were given it, until somebody says otherwise.
  await cluster.ok("deploy", "--from", calm, "--on", "a");
  assert.equal(meant((await cluster.ok("restart", "calm")).stderr), "name=a");
  await cluster.ok("stop", "calm");
});

test("what runs beside the newest is lost nowhere but where it was stopped (long)", async () => {
  const aside = async (text: string): Promise<string> =>
    await writeSource(cluster, "aside", {
      "skein.yaml": `app: aside\n${RUN}strategy: { batch: 100%, bake: 0s }\n`,
      "server.js": serverSource(text),
    });
  const serving = async (): Promise<string> => {
    const ports = (await cluster.ports()).filter(({ app, state }) => app === "aside" && state === "serving");
    const texts = ports.map(async ({ nodeName, host, port }) => {
      return `${nodeName} ${(await get(`http://${host}:${port}/`)).text}`;
    });
    return (await Promise.all(texts)).toSorted().join();
  };
  const served = async (...lines: readonly string[]): Promise<void> =>
    await cluster.until(lines.join(), async () => (await serving()) === lines.join());
  const old = String((await cluster.json("deploy", "--from", await aside("old")))["release"]).slice(0, 8);
  await cluster.ok("stop", "aside", "--on", "b");
  await cluster.ok("deploy", "--from", await aside("new"), "--keep-old");
  await served("a new", "a old", "b new", "b old", "c new", "c old");
  await cluster.ok("stop", `aside@${old}`, "--on", "a");
  await cluster.ok("restart", "aside", "--on", "c");
  await served("a new", "b new", "b old", "c new", "c old");
  await cluster.ok("stop", `aside@${old}`, "--on", "b");
  await served("a new", "b new", "c new", "c old");
  // What b was told since is not about a.
  await cluster.ok("restart", "aside", "--on", "a");
  await served("a new", "b new", "c new", "c old");
  await cluster.ok("restart", "aside");
  await served("a new", "a old", "b new", "b old", "c new", "c old");
  await cluster.ok("stop", "aside", "--all");
});

test("after a deployment that was taken back, restart, stop and start are about what serves (long)", async () => {
  const sure = async (text: string, more = ""): Promise<string> =>
    await writeSource(cluster, "sure", {
      "skein.yaml": `app: sure\n${RUN}strategy: { batch: 1, bake: 0s }\n`,
      "server.js": `${more}${serverSource(text)}`,
    });
  await cluster.ok("deploy", "--from", await sure("good"));
  const serving = async (): Promise<string[]> => {
    const ports = (await cluster.ports()).filter(({ app, state }) => app === "sure" && state === "serving");
    const texts = ports.map(async ({ nodeName, host, port }) => {
      return `${nodeName} ${(await get(`http://${host}:${port}/`)).text}`;
    });
    return (await Promise.all(texts)).toSorted();
  };
  const served = async (...lines: readonly string[]): Promise<void> =>
    await cluster.until(lines.join(), async () => (await serving()).join() === lines.join());
  const fails = [
    "deploy",
    "--from",
    await sure("bad", 'if (process.env.SKEIN_NODE === "b") process.exit(3);\n'),
  ];
  await refused(cluster, [3, "DEPLOY_FAILED"], fails);
  await served("a good", "b good", "c good");
  await cluster.ok("restart", "sure");
  await served("a good", "b good", "c good");
  await refused(cluster, [3, "DEPLOY_FAILED"], fails);
  await cluster.ok("stop", "sure");
  await served();
  await cluster.ok("start", "sure");
  await served("a good", "b good", "c good");
  // One that was stopped by itself takes nothing from the others when the next deployment is taken back.
  await cluster.ok("stop", "sure", "--on", "b");
  const said = await refusedInWords(cluster, [3, "DEPLOY_FAILED"], fails);
  assert.match(said, /It was undone: sure@[0-9a-f]{8} serves/);
  await cluster.until("a and c serve what they did", async () => {
    const now = await serving();
    return (
      ["a good", "c good"].every((line) => now.includes(line)) && now.every((line) => line.endsWith("good"))
    );
  });
  await cluster.ok("stop", "sure");
});

test("an order for what runs already, and a restart, are taken back like any other (long)", async () => {
  const even = await writeSource(cluster, "even", {
    "skein.yaml": `app: even\n${RUN}strategy: { batch: 100%, bake: 0s }\n`,
    "server.js": serverSource("even"),
  });
  await cluster.ok("deploy", "--from", even);
  const { client } = await cluster.operator();
  for (const words of [
    ["deploy", "--from", even, "--bake", "1m"],
    ["restart", "even"],
  ]) {
    await cluster.ok(...words, "--detach");
    await cluster.until("all are done and are watched", async () => {
      const [view] = await client.app("even", "default", stop.signal);
      if (!view?.head) return false;
      return (await client.rollout(view.head.digest, stop.signal)).phase === "baking";
    });
    const { stdout } = await cluster.ok("abort", "even", "--timeout", "50s");
    assert.match(stdout, /^even@[0-9a-f]{8} was taken back: even@[0-9a-f]{8} serves$/m);
  }
  await cluster.ok("drift", "even");
  await cluster.ok("stop", "even", "--timeout", "50s"); // a minute's bake is for what runs
});

test("a rollout that waits for a node that went away says so, and abort makes way for the next one (long)", async () => {
  // While a is at it, the other two go away: they were never told to begin.
  const flag = path.join(cluster.dir, "go-on");
  const v4 = await folder("v4", "0s", `until [ -e ${flag} ]; do sleep 0.05; done`);
  await cluster.ok("deploy", "--from", v4, "--detach");
  await cluster.until("a has begun", async () => (await rolloutNodes()).some((one) => one.gate === "go"));
  await Promise.all(["b", "c"].map(async (name) => await node(name).kill()));
  await Promise.all(["b", "c"].map(async (name) => await cluster.absent(name)));
  const next = ["deploy", "--from", await folder("v5", "0s")];
  const { message, hint, data } = await refused(cluster, [6, "DEPLOY_IN_PROGRESS"], next);
  assert.match(message, /waits for b, c, which are away$/, message);
  assert.match(hint, /skein abort/);
  assert.deepEqual(data["waitsFor"], ["b", "c"]);
  assert.match(await refusedInWords(cluster, [6, "DEPLOY_IN_PROGRESS"], next), /skein abort/);
  await fs.writeFile(flag, "");
  await cluster.ok("abort", "paced");
  await untilAnswers("v2", "v2", "v2");
  await Promise.all(["b", "c"].map(async (name) => await node(name).start()));
  await Promise.all(["b", "c"].map(async (name) => await cluster.present(name)));
  await cluster.ok(...next);
  assert.deepEqual(await answers(), ["v5", "v5", "v5"]);
});

test("a hook that hangs is waited for, and ended by who says so (long)", async () => {
  const from = await folder("v6", "0s", "exec sleep 55");
  const serving = await answers();
  await cluster.ok("deploy", "--from", from, "--detach");
  await cluster.until("the hook runs", async () =>
    (await rolloutNodes()).some(({ state }) => state === "pre-jump"),
  );
  await cluster.ok("abort", "paced", "--detach");
  const { stdout, stderr } = await cluster.ok("abort", "paced", "--now", "--timeout", "50s");
  assert.match(stderr, /^[abc] {2}its pre-jump was ended$/m);
  assert.match(stdout, /^paced@[0-9a-f]{8} was taken back: paced@[0-9a-f]{8} serves$/m);
  assert.deepEqual(await answers(), serving);
});

test("a node that loses its label meanwhile is not waited for, and taken back with the others (long)", async () => {
  const flag = path.join(cluster.dir, "relabelled");
  const own = String(nextPort());
  const named = async (version: string, hook: string): Promise<string> => {
    const manifest = `app: named
targets: up
${RUN.replace("auto", own)}strategy: { batch: 1, bake: 0s }
hooks: { pre_jump: { run: "${hook}" } }
`;
    return await writeSource(cluster, `named-${version}`, {
      "skein.yaml": manifest,
      "server.js": serverSource(version),
    });
  };
  const label = async (...words: string[]): Promise<unknown> => await cluster.ok("node", "label", ...words);
  for (const name of NAMES) await label(name, "up");
  await cluster.ok("deploy", "--from", await named("v1", "true"), "--all-at-once");
  const where = await Promise.all(NAMES.map(async (name) => await urlOf(cluster, "named", name)));
  const are = async (...expected: string[]): Promise<boolean> => {
    const now = await Promise.all(where.map(async (url) => (await get(url)).text));
    return now.join() === expected.join();
  };
  const waits = `[ $SKEIN_NODE != b ] || until [ -e ${flag} ]; do sleep 0.05; done`;
  const second = cluster.okIn(cluster.dir, "deploy", "--from", await named("v2", waits));
  await cluster.until("a is done", async () => await are("v2", "v1", "v1"));
  await label("c", "up-");
  await fs.writeFile(flag, "");
  assert.match((await second).stdout, /runs on 2 of 3 nodes; not meant any more: c$/m);
  assert.ok(await are("v2", "v2", "v1"));
  await label("c", "up");
  await cluster.until("c takes what stands", async () => await are("v2", "v2", "v2"));
  await fs.rm(flag);
  const third = cluster.skein([
    "--json",
    "deploy",
    "--from",
    await named("v3", `${waits}; [ $SKEIN_NODE != b ]`),
  ]);
  await cluster.until("a is done", async () => await are("v3", "v2", "v2"));
  await label("a", "up-");
  await fs.writeFile(flag, "");
  assert.deepEqual(resultEvent(await third).exit, 3);
  await cluster.until("a is back, too", async () => await are("v2", "v2", "v2"));
});
