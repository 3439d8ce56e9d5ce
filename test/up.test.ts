/** `skein up` from an empty folder, and all that a person can do with it on one machine. */
import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import http from "node:http";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { parse } from "yaml";
import { freePort } from "../src/lib/testing/free-port.fixture.ts";
import { firstAnswer, get } from "./support/answers.ts";
import { Asker } from "./support/apps.ts";
import { ended, Processes, processesIn } from "./support/processes.ts";
import type { Cost } from "../src/operator/deploy/plan.ts";
import { COMPILED, tested } from "./support/program.ts";
import { gitEnv } from "./support/repo.ts";
import { eventually } from "../src/lib/testing/eventually.fixture.ts";

const FAST = ["--bake", "0s"];
const run = promisify(execFile);

let dir = "";
let processes: Processes;
let upProcess: ChildProcess;
let hub = "";

const env = (): NodeJS.ProcessEnv => ({
  ...gitEnv(),
  ...COMPILED,
  SKEIN_HOME: path.join(dir, "home"),
  PATH: `${tested.helperDir}${path.delimiter}${process.env["PATH"] ?? ""}`,
});

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function skein(...args: string[]): Promise<Ended> {
  const child = spawn(tested.command, [...tested.args, ...args], { cwd: dir, env: env() });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const code = await new Promise<number>((resolve) => child.once("close", (end) => resolve(end ?? -1)));
  return { code, stdout, stderr };
}

/** Runs with --json: every line is an event. @returns the events, the result last */
async function events(wanted: number, ...args: string[]): Promise<Record<string, unknown>[]> {
  const { code, stdout, stderr } = await skein("--json", ...args);
  assert.equal(code, wanted, `skein ${args.join(" ")}:\n${stdout}\n${stderr}`);
  const lines = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.equal(lines.at(-1)?.["type"], "result", stdout);
  return lines;
}

async function result<T>(...args: string[]): Promise<T> {
  return (await events(0, ...args)).at(-1) as T;
}

async function startUp(): Promise<void> {
  const log = path.join(dir, "up.log");
  await fs.rm(log, { force: true });
  const args = [...tested.args, "--json", "up", "--listen", hub, "--name", "here"];
  // As in the shell of an administrator who lets nobody read what he makes: apps still get at their releases.
  const tight = ["-c", 'umask 077; exec "$0" "$@"', tested.command, ...args];
  upProcess = processes.start("/bin/sh", tight, { cwd: dir, env: env(), log });
  await eventually("skein up is ready", async () => /"type":"ready"/.test(await fs.readFile(log, "utf8")));
}

before(async () => {
  dir = await fs.realpath(await fs.mkdtemp(path.join(os.tmpdir(), "skein-up-")));
  await fs.chmod(dir, 0o755); // apps have users of their own
  processes = new Processes(dir);
  hub = `127.0.0.1:${await freePort()}`;
  await startUp();
});

after(async () => {
  await processes[Symbol.asyncDispose]();
  await fs.rm(dir, { recursive: true, force: true, maxRetries: 5 });
});

async function write(files: Readonly<Record<string, string>>, mode = 0o644): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    await fs.mkdir(path.dirname(path.join(dir, name)), { recursive: true });
    await fs.writeFile(path.join(dir, name), text, { mode });
  }
}

const server = (text: string): string =>
  `console.log("says ${text}"); require("node:http").createServer((q, r) => r.end("${text}")).listen(process.env.PORT, process.env.HOST);\n`;

interface Port {
  readonly app: string;
  readonly host: string;
  readonly port: number | null;
}

async function urlOf(app: string): Promise<string> {
  const { ports } = await result<{ ports: Port[] }>("ports", "--app", app);
  const entry = ports.find((one) => one.port !== null);
  assert.ok(entry, JSON.stringify(ports));
  return `http://${entry.host}:${entry.port}/`;
}

/** A day's commands: each takes a second, or ten where others need the machine as well. */
const STORY = { timeout: 600_000 };

test("a folder with a manifest: deploy, look, restart, stop, start, roll back", STORY, async (t) => {
  const port = await freePort();
  const manifest = `app: shop\nrun: node server.js\nlisten: ${port}\nhealth: /\nverify: sh smoke.sh\n`;
  await write({ "shop/skein.yaml": manifest, "shop/server.js": server("one"), "shop/smoke.sh": "exit 0\n" });
  const url = `http://127.0.0.1:${port}/`;

  await t.test("plan has changes, deploying makes them, and then it has none for that release", async () => {
    const planned = (await events(10, "plan", "./shop")).at(-1) as { plan: { changes: number } };
    assert.equal(planned.plan.changes, 1);
    await assert.rejects(get(url), "plan changed nothing");
    const told = await events(0, "deploy", "./shop", ...FAST);
    const types = new Set(told.map(({ type }) => type));
    for (const type of ["release", "selection", "order", "rollout", "result"])
      assert.ok(types.has(type), type);
    assert.equal((await get(url)).text, "one");
    const { release } = told.at(-1) as { release: string };
    const nothing = await result<{ plan: { changes: number } }>("plan", "shop", release.slice(0, 8));
    assert.equal(nothing.plan.changes, 0);
    const asItIs = await result<{ plan: { changes: number; release: string } }>("plan", "./shop");
    assert.deepEqual(
      [asItIs.plan.changes, asItIs.plan.release],
      [0, release],
      "a folder is known by what it holds",
    );
    await write({ "shop/server.js": server("planned") });
    const { plan } = (await events(10, "plan", "./shop")).at(-1) as { plan: { nodes: { cost: Cost }[] } };
    const [{ cost } = assert.fail()] = plan.nodes;
    assert.ok(
      cost.freeAfter !== null && cost.freeAfter > 0,
      "the node tells what is free, whatever is to come",
    );
    assert.deepEqual([cost.diskAtMost, cost.gcBytes], [true, 0]);
    await write({ "shop/server.js": server("one") });
  });

  await t.test("status, list, releases, ports, check, verify and logs tell what there is", async () => {
    const { apps } = await result<{ apps: { app: string; nodes: { current: boolean }[] }[] }>("status");
    assert.deepEqual(
      apps.map(({ app, nodes }) => [app, nodes.every(({ current }) => current)]),
      [["shop", true]],
    );
    const listed = await result<{ apps: unknown[]; nodes: { name: string }[] }>("list");
    assert.deepEqual([listed.apps.length, listed.nodes.map(({ name }) => name)], [1, ["here"]]);
    const { releases } = await result<{ releases: { id: string }[] }>("releases", "shop");
    assert.equal(releases.length, 1);
    const id = releases[0]?.id.slice(0, 8) ?? "";
    const byCommit = (await skein("ports", "--by", "commit")).stdout;
    const table = JSON.parse(byCommit) as Record<string, unknown>;
    assert.deepEqual(Object.values(table), [{ web: [{ host: "127.0.0.1", port }] }]);
    assert.equal((await skein("show", "--by", "commit")).stdout, byCommit);
    assert.equal((await skein("ls", "versions")).stdout, (await skein("list", "versions")).stdout);
    assert.match((await skein("check", "shop")).stdout, new RegExp(`^here +shop@${id}`));
    assert.equal((await skein("check", "shop", id)).stdout, "OK\n");
    assert.equal((await skein("verify", "shop")).stdout, "here  OK\n");
    assert.match((await skein("logs", "shop")).stdout, /^here .*says one$/m);
    assert.deepEqual((await skein("logs", "shop", "--lines", "0")).stdout, "");
    assert.match((await skein("logs", "shop", "--process", "nope")).stderr, /^No process nope of shop/m);
    const lines = await events(0, "logs", "shop", "--lines", "1");
    assert.equal(lines[0]?.["type"], "log");
  });

  await t.test("restart loses nothing; stop frees the port; start brings it back", async () => {
    await using asker = new Asker(url, ["one"]);
    await result("restart", "shop");
    await result("restart", "web.1@here", "--app", "shop");
    asker.unharmed();
    await asker[Symbol.asyncDispose]();
    await result("stop", "shop");
    await assert.rejects(get(url), { code: "ECONNREFUSED" });
    const { apps } = await result<{ apps: { state: string }[] }>("status", "shop");
    assert.equal(apps[0]?.state, "stopped");
    await result("start", "shop");
    assert.equal((await get(url)).text, "one");
  });

  await t.test("the next version takes over, and rollback goes back, nothing lost", async () => {
    await using asker = new Asker(url, ["one", "two"]);
    await write({ "shop/server.js": server("two") });
    await result("deploy", "./shop", ...FAST);
    assert.equal((await get(url)).text, "two");
    await result("rollback", "shop");
    assert.equal((await get(url)).text, "one");
    asker.unharmed();
  });

  await t.test(
    "after an old version was deployed, rollback goes to what ran before it, and then further",
    async () => {
      for (const text of ["two", "one"]) {
        await write({ "shop/server.js": server(text) });
        await result("deploy", "./shop", ...FAST);
      }
      for (const text of ["two", "one"]) {
        await result("rollback", "shop");
        assert.equal((await get(url)).text, text);
      }
      const { code, stderr } = await skein("rollback", "shop");
      assert.equal(code, 7, stderr);
    },
  );

  await t.test("gc removes what is not to be kept", async () => {
    for (const text of ["three", "four"]) {
      await write({ "shop/server.js": server(text) });
      await result("deploy", "./shop", ...FAST);
    }
    const dry = await result<{ removed: { release: string }[] }>("gc", "shop", "--count", "1", "--dry-run");
    const { removed } = await result<{ removed: { release: string }[] }>("gc", "shop", "--count", "1");
    assert.deepEqual(removed, dry.removed);
    assert.ok(removed.length > 0);
    const left = await fs.readdir(path.join(dir, "home/lib/apps/shop/revs"));
    for (const { release } of removed) assert.ok(!left.includes(release));
    assert.equal((await get(url)).text, "four");
  });
});

/** What `validate --full` says that runs, before anything of it does. */
async function foretold(source: string): Promise<unknown> {
  const { code, stdout, stderr } = await skein("validate", "--full", source);
  assert.equal(code, 0, stderr);
  return (parse(stdout) as { processes: Record<string, { run: unknown }> }).processes["web"]?.run;
}

test("a tarball runs without any manifest, by the conventions that validate shows", async () => {
  await write({ "pack/server.js": server("packed") });
  await run("tar", ["-czf", path.join(dir, "packed.tgz"), "-C", path.join(dir, "pack"), "."]);
  assert.deepEqual(await foretold("./packed.tgz"), ["node", "server.js"]);
  await result("deploy", "./packed.tgz", ...FAST);
  assert.equal((await get(await urlOf("packed"))).text, "packed");
});

test("a folder with a start script runs without any manifest, and a tarball with one by that (long)", async () => {
  const start = JSON.stringify({ scripts: { start: "node own.js" } });
  await write({ "started/package.json": start, "started/own.js": server("started") });
  assert.deepEqual(await foretold("./started"), ["npm", "start"]);
  await result("deploy", "./started", ...FAST);
  assert.equal((await get(await urlOf("started"))).text, "started");
  await result("stop", "started");
  await write({ "said/skein.yaml": "app: said-so\nrun: node own.js\nlisten: auto\n" });
  await write({ "said/own.js": server("said"), "said/server.js": server("not this") });
  await run("tar", ["-cf", path.join(dir, "said.tar"), "-C", path.join(dir, "said"), "."]);
  await result("deploy", "./said.tar", ...FAST);
  assert.equal((await get(await urlOf("said-so"))).text, "said");
  await result("stop", "said-so");
});

test("a bare executable runs as a service, without any manifest", async () => {
  const script = `#!/usr/bin/env node\n${server("bare")}`;
  await write({ "tool/hello.js": script }, 0o755);
  await fs.copyFile(path.join(dir, "tool/hello.js"), path.join(dir, "hello"));
  assert.deepEqual(await foretold("./hello"), ["./hello"]);
  await result("deploy", "./hello", ...FAST);
  assert.match((await skein("logs", "hello")).stdout, /^here .*says bare$/m);
  const { apps } = await result<{ apps: { nodes: { current: boolean }[] }[] }>("status", "hello");
  assert.equal(apps[0]?.nodes[0]?.current, true);
});

test("a folder without a manifest is files that are brought to their place, with hooks by their names (long)", async () => {
  await write({ "conf/app.conf": "level=1\n" });
  await write({ "conf/post-jump.sh": "#!/bin/sh\necho jumped to $FTL_REVISION\n" }, 0o755);
  await result("deploy", "./conf", ...FAST);
  const current = path.join(dir, "home/lib/apps/conf/current/app.conf");
  assert.equal(await fs.readFile(current, "utf8"), "level=1\n");
  assert.match((await skein("logs", "conf")).stdout, /jumped to [0-9a-f]+/);
  assert.equal((await skein("verify", "conf")).stdout, "here  no verification in its manifest\n");
  const whose = await skein("restart", "web.1@here");
  assert.equal(whose.code, 2);
  assert.match(whose.stderr, /whose instance is web\.1\?\n.*Say --app: .*packed/);
  assert.doesNotMatch(whose.stderr, /conf/, "it has no instances");
  const none = await skein("restart", "web.9@here", "--app", "packed");
  assert.match(none.stderr, /no instance web\.9 of packed on this node\n.*It has web\.1\.\n/);
  assert.deepEqual((await result<{ unverified: string[] }>("verify", "conf")).unverified, ["here"]);
});

test("a hook whose failure holds nothing back is told, and the command says so (long)", async () => {
  await write(
    { "conf/un-jump.sh": "#!/bin/sh\nexit 5\n", "conf/pre-remove.sh": "#!/bin/sh\nexit 6\n" },
    0o755,
  );
  await result("deploy", "./conf", ...FAST);
  for (const level of ["2", "3", "4"]) {
    await write({ "conf/app.conf": `level=${level}\n` });
    const { code, stdout } = await skein("deploy", "./conf", ...FAST);
    assert.deepEqual([code, /; a hook failed on here/.test(stdout)], [5, true], stdout);
  }
  const { code, stdout, stderr } = await skein("gc", "conf", "count", "1");
  assert.match(stderr, /^here {2}pre-remove of conf@[0-9a-f]{8} failed: exit status 6 \(HOOK_FAILED\)$/m);
  assert.deepEqual([code, /removed/.test(stdout)], [5, true], "it goes all the same");
});

test("who follows logs ends that with Ctrl-C, and nothing is said of it (long)", async () => {
  const following = going({}, "logs", "conf", "--follow");
  await untilSaid(following.said, "jumped to ");
  await following.interrupt();
  assert.doesNotMatch(following.said(), /error|INTERRUPTED/);
});

test("the version, of the tool and of the program that asks", async () => {
  const { version } = await result<{ version: string }>("version");
  assert.equal((await skein("--version")).stdout, `skein ${version}\n`);
});

/** A command that goes on until it is interrupted. */
function going(
  more: Readonly<Record<string, string>>,
  ...args: string[]
): { readonly said: () => string; readonly interrupt: () => Promise<void> } {
  const log = path.join(dir, `going-${randomUUID()}.log`);
  const child = processes.start(tested.command, [...tested.args, ...args], {
    cwd: dir,
    env: { ...env(), ...more },
    log,
  });
  return {
    said: () => readFileSync(log, "utf8"),
    async interrupt() {
      child.kill("SIGINT");
      await ended(child);
      assert.equal(child.exitCode, 130, readFileSync(log, "utf8"));
    },
  };
}

async function untilSaid(said: () => string, text: string): Promise<void> {
  await eventually(text, async () => said().includes(text));
}

async function untilAnswered(app: string, text: string): Promise<void> {
  await firstAnswer(await urlOf(app), text);
}

test("two versions side by side are both shown, and stopped together at once (long)", async () => {
  const manifest = "app: twice\nrun: node server.js\nlisten: auto\nversion: cat VERSION\n";
  await write({ "twice/skein.yaml": manifest, "twice/server.js": server("one"), "twice/VERSION": "1.0\n" });
  await result("deploy", "./twice", ...FAST);
  await write({ "twice/server.js": server("two"), "twice/VERSION": "2.0\n" });
  await result("deploy", "./twice", ...FAST, "--keep-old");
  const { releases } = await result<{ releases: { id: string }[] }>("releases", "twice");
  const [two, one] = releases.map(({ id }) => id.slice(0, 8));
  const both = new RegExp(
    `here +twice/default +twice@${two} +running\nhere +twice/default +twice@${one} +beside$`,
    "m",
  );
  // A deployment has ended when its receipt came; what the node says of itself follows.
  await eventually("both are listed", async () =>
    both.test((await skein("list", "versions", "--app", "twice")).stdout),
  );
  assert.match(
    (await skein("status", "twice")).stdout,
    new RegExp(`here +twice@${two} +running .*beside twice@${one}`),
  );
  assert.match(
    (await skein("node", "show", "here")).stdout,
    new RegExp(`^twice/default +twice@${two}  running  beside twice@${one}$`, "m"),
  );
  const { ports } = await result<{ ports: { host: string; port: number }[] }>("ports", "--app", "twice");
  assert.equal(ports.length, 2);
  assert.match((await skein("check", "twice")).stdout, new RegExp(`^here +twice@${two} +2\\.0`));
  for (const same of [two ?? "", "2.0"]) assert.equal((await skein("check", "twice", same)).stdout, "OK\n");
  for (const other of [one ?? "", "1.0"]) {
    const { code, stderr } = await skein("check", "twice", other);
    assert.equal(code, 1);
    assert.match(stderr, /1 of 1 nodes do not run twice.*here: 2\.0$.*VERSION_DIFFERS/ms);
  }
  const early = await skein("stop", "twice", "--now");
  assert.equal(early.code, 2, "the older version would go on, and would have been ended with the other");
  assert.match(early.stderr, /another one is to go on[^]*--all --now/);
  for (const { host, port } of ports) assert.equal((await get(`http://${host}:${port}/`)).status, 200);
  await result("stop", "twice", "--all", "--now");
  for (const { host, port } of ports)
    await assert.rejects(get(`http://${host}:${port}/`), { code: "ECONNREFUSED" });
  assert.doesNotMatch((await skein("list", "versions", "--app", "twice")).stdout, /running|beside/);
});

test("whoever watches the ports sees the table first, and then what is asked about alone (long)", async () => {
  await write({ "seen/server.js": server("one"), "unseen/server.js": server("one") });
  for (const app of ["seen", "unseen"]) {
    await write({ [`${app}/skein.yaml`]: `app: ${app}\nrun: node server.js\nlisten: auto\n` });
    await result("deploy", `./${app}`, ...FAST);
  }
  const follow = ["ports", "watch", "--app", "seen", "--on", "here"];
  const [shown, told] = [going({}, ...follow), going({}, "--json", ...follow)];
  await untilSaid(shown.said, "seen.web.1.");
  await untilSaid(told.said, '"instance":"seen.web.1.');
  await result("stop", "unseen");
  await result("stop", "seen");
  await untilSaid(shown.said, "\n- seen@");
  await untilSaid(told.said, '"value":null');
  await Promise.all([shown.interrupt(), told.interrupt()]);
  const line = /^- seen@[0-9a-f]{8}  seen\.web\.1\.[0-9a-f]{8}  here  \S+:\d+  http  \w+$/m;
  assert.match(shown.said(), line);
  assert.match(told.said(), /^\{"revision":\d+,"type":"port","key":"[^"]*","value":\{/);
  for (const said of [shown.said(), told.said()]) assert.doesNotMatch(said, /unseen/);
});

/** In a terminal, where keys can be typed; what stands there may end with the time. */
async function inTerminal(
  args: readonly string[],
  keysAt: string,
  keys: string,
): Promise<{ readonly code: number | null; readonly shown: string }> {
  const words = [tested.command, ...tested.args, ...args].map((word) => `'${word}'`).join(" ");
  const child = spawn("script", ["-qec", words, "/dev/null"], { cwd: dir, env: env() });
  let shown = "";
  const untilShown = new Promise<void>((resolve) =>
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      shown += text;
      if (shown.includes(keysAt)) resolve();
    }),
  );
  const closed = once(child, "close") as Promise<[number | null]>;
  await Promise.race([untilShown, closed]);
  child.stdin.write(keys);
  const [code] = await closed;
  return { code, shown };
}

const CTRL_C = "\x03";
/** The board's lines again, over what stands there. */
const DRAWN_ANEW = "\x1b[2A\x1b[2K";

test("a deployment that is interrupted goes on, and says how to come back; --follow prints what is new from its start on (long)", async () => {
  const manifest = "app: tail\nrun: node server.js\nlisten: auto\n";
  const gate = path.join(dir, "tail-may-begin");
  const waits = `const wait = setInterval(() => { if (!require("node:fs").existsSync(${JSON.stringify(gate)})) return; clearInterval(wait); ${server("one")} }, 20);\n`;
  await write({ "tail/skein.yaml": manifest, "tail/server.js": waits });
  const first = await inTerminal(["deploy", "./tail", ...FAST], DRAWN_ANEW, CTRL_C);
  await write({ "tail-may-begin": "" });
  assert.equal(first.code, 130, first.shown);
  assert.ok(first.shown.includes(DRAWN_ANEW), first.shown);
  assert.match(first.shown, /next {3}It goes on without you\. Come back: skein watch tail\r$/m);
  assert.equal((await skein("watch", "tail")).code, 0);
  await untilAnswered("tail", "one");

  await write({ "tail/server.js": server("two") });
  const second = going({}, "deploy", "./tail", ...FAST, "--follow");
  await untilSaid(second.said, "web.1  says two");
  await second.interrupt();
  assert.doesNotMatch(second.said(), /says one/);
});

test("connections that do not end in time are cut, and the deployment says how many", async () => {
  const port = await freePort();
  const manifest = `app: holds\nprocesses:\n  web: { run: node server.js, listen: ${port}, drain: { window: 50ms, within: 300ms } }\n`;
  const holding = (text: string): string =>
    `require("node:http").createServer((q, r) => { r.writeHead(200); r.write("${text}"); if (q.url !== "/hold") r.end(); }).listen(process.env.PORT, process.env.HOST);\n`;
  await write({ "holds/skein.yaml": manifest, "holds/server.js": holding("one") });
  const quiet = await skein("deploy", "./holds", ...FAST, "--quiet");
  assert.match(quiet.stdout, /^holds@[0-9a-f]{8} runs on 1 node$/m);
  assert.equal(quiet.stderr, "", "no progress");
  const held = http.get(`http://127.0.0.1:${port}/hold`, { agent: false });
  const [response] = (await once(held, "response")) as [http.IncomingMessage];
  response.resume();
  const cut = once(response, "error");
  await write({ "holds/server.js": holding("two") });
  const { code, stdout } = await skein("deploy", "./holds", ...FAST);
  assert.match(
    stdout,
    /^holds@[0-9a-f]{8} runs on 1 node; 1 connection cut while draining \(CONNECTIONS_CUT\)$/m,
  );
  assert.equal(code, 0);
  await cut;
  assert.equal((await get(`http://127.0.0.1:${port}/`)).text, "two");
});

test("deploy --watch deploys each change, and a bad one harms nobody (long)", async () => {
  const manifest = "app: live\nrun: node server.js\nlisten: auto\n";
  await write({ "live/skein.yaml": manifest, "live/server.js": server("one") });
  const watching = going({}, "deploy", "./live", ...FAST, "--watch");
  await untilSaid(watching.said, "order ");
  await write({ "live/server.js": server("one more") }); // while the first one is under way
  await eventually("it answers", async () => {
    const url = await urlOf("live").catch(() => undefined);
    return url !== undefined && (await get(url)).text === "one more";
  });
  await write({ "live/skein.yaml": `${manifest}lissten: 1\n` });
  await untilSaid(watching.said, "MANIFEST_INVALID");
  assert.equal((await get(await urlOf("live"))).text, "one more");
  // Until the manifest is right again nothing is deployed.
  await write({ "live/server.js": server("two"), "live/skein.yaml": manifest });
  await eventually("the change answers", async () => (await get(await urlOf("live"))).text === "two");
  await eventually("it watches again", () => watching.said().match(/ runs on 1 node/g)?.length === 3);
  await watching.interrupt();
  assert.match(watching.said(), /What was deployed runs on\.$/m);
});

test("the demo cleans up after itself when it is interrupted (long)", async () => {
  const tmp = path.join(dir, "tmp");
  await fs.mkdir(tmp, { mode: 0o755 });
  const demo = going({ TMPDIR: tmp }, "demo");
  await untilSaid(demo.said, "git push, then deploy");
  assert.notDeepEqual(processesIn(path.join(tmp, "skein-demo-")), []);
  await demo.interrupt();
  await eventually("nothing runs", () => processesIn(path.join(tmp, "skein-demo-")).length === 0);
  assert.deepEqual(await fs.readdir(tmp), []);
});

/** Ctrl-C, and what is left of it. */
async function interruptUp(): Promise<void> {
  upProcess.kill("SIGINT");
  await eventually("skein up ends", () => upProcess.exitCode !== null);
  assert.equal(upProcess.exitCode, 0, await fs.readFile(path.join(dir, "up.log"), "utf8"));
  await eventually("nothing runs", () => processesIn(dir).length === 0); // the keeper answers before its last act
}

test("Ctrl-C stops everything, and the next up brings it back", async () => {
  const url = await urlOf("shop");
  await interruptUp();
  await assert.rejects(get(url));
  const elsewhere = await skein("up", "--listen", `127.0.0.1:${await freePort()}`);
  assert.equal(elsewhere.code, 2);
  assert.ok(elsewhere.stderr.includes(`has its hub at ${hub}, and is looked for nowhere else`));
  const renamed = await skein("up", "--listen", hub, "--name", "there");
  assert.equal(renamed.code, 2);
  assert.match(renamed.stderr, /is node here already, and no node there\n/);
  await startUp();
  await firstAnswer(url, "four");
  await interruptUp();
});

/** A machine of its own, whose loopback has no IPv4. */
const V6_ALONE = 'ip link set lo up && ip addr del 127.0.0.1/8 dev lo && exec "$@"';
const canBeV6Alone = (): boolean =>
  spawnSync("unshare", ["-n", "sh", "-c", V6_ALONE, "sh", "true"]).status === 0;

test("a machine whose loopback has IPv6 alone runs apps, which find each other there (long)", async (t) => {
  if (!canBeV6Alone()) {
    t.skip("a loopback of its own needs a network namespace, which needs root");
    return;
  }
  const home = path.join(dir, "v6");
  await write({
    "six/skein.yaml": "app: six\nrun: node server.js\nlisten: 8080\nhealth: /\n",
    "six/server.js": `fetch(process.env.SKEIN_REGISTRY + "/services").then((r) => r.json()).then((all) => console.log("found", process.env.SKEIN_REGISTRY, all.length));
${server("six")}`,
  });
  // All in one, since what is started elsewhere is not on that machine.
  const story = `"$0" "$@" --json up --listen [::1]:7400 --address ::1 > up.json & up=$!
    until grep -q ready up.json; do kill -0 $up && sleep 0.1 || exit; done
    "$0" "$@" deploy ./six --bake 0s && "$0" "$@" logs six; kill -INT $up; wait $up`;
  const words = ["-n", "sh", "-c", V6_ALONE, "sh", "sh", "-c", story, tested.command, ...tested.args];
  const options = { cwd: dir, env: { ...env(), SKEIN_HOME: home }, encoding: "utf8" } as const;
  const { stdout, stderr } = spawnSync("unshare", words, options);
  assert.match(stdout, /six@\w+ runs on 1 node\n[^]*found http:\/\/\[::1\]:\d+\/\w+ \d/, stderr);
});
