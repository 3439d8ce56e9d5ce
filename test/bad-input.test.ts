/** What people get wrong, on real processes: the exit code, the code, what to do next, and who still serves. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, openSync, readdirSync, statSync, writeSync } from "node:fs";
import fs from "node:fs/promises";
import net from "node:net";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { freePort } from "../src/lib/testing/free-port.fixture.ts";
import { get } from "./support/answers.ts";
import { Asker, FAST, nextPort, RUN, serverSource as server, urlOf, writeSource } from "./support/apps.ts";
import { type Cluster, startCluster } from "./support/cluster.ts";
import { refused, refusedInWords, type Refusal, resultEvent } from "./support/refusals.ts";
import { sourceRepo } from "./support/repo.ts";
import { eventually } from "../src/lib/testing/eventually.fixture.ts";

let cluster: Cluster;
let stop: AbortController;

before(async () => {
  stop = new AbortController();
  cluster = await startCluster({ signal: stop.signal });
  await cluster.addNode("web1", { labels: { role: "web" } });
});

after(async () => {
  stop.abort();
  await cluster[Symbol.asyncDispose]();
});

const source = async (name: string, files: Readonly<Record<string, string>>): Promise<string> =>
  await writeSource(cluster, name, files);

/** An app of which a healthy version is deployed. */
interface Healthy {
  readonly app: string;
  readonly port: number;
  readonly url: string;
}

async function healthy(app: string, more = ""): Promise<Healthy> {
  const port = nextPort();
  const dir = await source(`${app}-v1`, {
    "skein.yaml": `app: ${app}\n${more}${RUN.replace("auto", String(port))}`,
    "server.js": server(`${app} v1`),
  });
  await cluster.ok("deploy", "--from", dir, ...FAST);
  return { app, port, url: await urlOf(cluster, app) };
}

let deployed: Promise<Healthy> | undefined;

/** One that stays as it is, whoever fails to replace it. */
const steady = async (): Promise<Healthy> => await (deployed ??= healthy("steady"));

/** Someone who asks a healthy version all the time. */
class Serving extends Asker {
  readonly #of: Healthy;

  /** @param also what else is a right answer */
  constructor(of: Healthy, also: readonly string[] = []) {
    super(of.url, [`${of.app} v1`, ...also]);
    this.#of = of;
  }

  /** Deploys another version, which must fail so; the first one answers all the time. */
  async fails(
    [exit, code]: readonly [number, string],
    manifest: string,
    files: Readonly<Record<string, string>> = {},
  ): Promise<Refusal> {
    const { app, port } = this.#of;
    const dir = await source(`${app}-bad${(bad += 1)}`, {
      "skein.yaml": `app: ${app}\n${manifest.replace("listen: auto", `listen: ${port}`)}`,
      "server.js": server("bad"),
      ...files,
    });
    const error = await refused(cluster, [exit, code], ["deploy", "--from", dir, ...FAST]);
    this.unharmed();
    return error;
  }
}

let bad = 0;

/** Failed on the node for this reason, undone, and the error says where and what is left. */
function undoneOf(error: Refusal, cause: string, why: RegExp): void {
  assert.equal(error.data["cause"], cause, error.message);
  assert.equal(error.data["node"], "web1");
  assert.match(error.message, /failed on web1/);
  assert.match(error.message, why);
  assert.match(String(error.data["state"]), /undone: .+@[0-9a-f]{8} serves/);
  assert.match(error.hint, /skein logs/);
  if (cause === "SOCKET_NOT_TAKEN") assert.match(error.hint, /listen on \$PORT.*handover: gap/);
}

describe("a manifest", () => {
  const CASES: readonly [what: string, text: string, line: number, column: number, says: RegExp][] = [
    ["a key misspelt", "app: shop\nlissten: 8080\n", 2, 1, /did you mean.*listen/i],
    [
      "a key misspelt inside",
      "app: shop\nrun: node x\nhealth: { reddy: /up }\n",
      3,
      11,
      /did you mean.*ready/i,
    ],
    ["a port out of range", "app: shop\nrun: node x\nlisten: 80800\n", 3, 9, /at most 65535/],
    ["a number for a duration", "run: node x\nstrategy:\n  bake: soon\n", 3, 9, /30s|duration/],
    ["a key of a later version", "run: node x\nsecrets: [TOKEN]\n", 2, 1, /secrets/],
    ["broken YAML", "app: shop\nrun: [node, x\nlisten: 1\n", 3, 1, /./],
    ["a selector nobody can read", 'run: node x\ntargets: "role=&"\n', 2, 10, /role=web/],
  ];
  for (const [what, text, line, column, says] of CASES) {
    test(`${what} is refused with its place by validate and by deploy`, async () => {
      const dir = await source(`manifest-${what.replaceAll(" ", "-")}`, { "skein.yaml": text, x: "" });
      const later = what.includes("later");
      const wanted = [2, later ? "MANIFEST_LATER" : "MANIFEST_INVALID"] as const;
      const [error, told] = await Promise.all([
        refused(cluster, wanted, ["validate", dir]),
        refusedInWords(cluster, wanted, ["deploy", "--from", dir]),
      ]);
      const place = `skein.yaml:${line}:${column}`;
      for (const message of [`${error.message}\n${error.hint}`, told]) {
        assert.ok(message.includes(place), `${place} in: ${message}`);
        assert.match(message, says);
      }
    });
  }
});

test("a manifest that is called skein.yml is not passed over for conventions", async () => {
  const dir = await source("misnamed", { "skein.yml": "app: shop\nrun: node x\n", "server.js": "" });
  for (const args of [
    ["validate", dir],
    ["plan", dir],
    ["deploy", "--from", dir],
    ["build", dir],
  ])
    assert.match((await refused(cluster, [2, "MANIFEST_INVALID"], args)).message, /called skein\.yaml/);
});

test("what is built where no source is named is an app, as for a deployment (long)", async () => {
  const bare = await source("bare", { "notes.txt": "mine" });
  for (const verb of ["build", "plan", "deploy"]) {
    const said = await cluster.skein([verb], { cwd: bare });
    assert.equal(said.code, 2, said.stderr);
    assert.match(said.stderr, /says what to deploy[^]*SOURCE_NOT_FOUND/);
  }
  await refused(cluster, [2, "SOURCE_NOT_FOUND"], ["build", "--app", "bare"], { cwd: bare });
  const repo = await sourceRepo(path.join(cluster.dir, "src/left"));
  await repo.commit({ "skein.yaml": "app: left\n", "index.html": "one" });
  await fs.writeFile(path.join(repo.dir, "index.html"), "two");
  const built = await cluster.skein(["build"], { cwd: repo.dir });
  assert.equal(built.code, 0, built.stderr);
  assert.match(built.stderr, /1 uncommitted change is not deployed/);
});

describe("names that nothing has", () => {
  const CASES: readonly [args: string[], exit: number, code: string, says: RegExp][] = [
    [["status", "nosuch"], 7, "APP_NOT_FOUND", /nosuch/],
    [["releases", "nosuch"], 7, "APP_NOT_FOUND", /nosuch/],
    [["ports", "nosuch"], 7, "APP_NOT_FOUND", /nosuch/],
    [["show", "nosuch", "--by", "commit"], 7, "APP_NOT_FOUND", /nosuch/],
    [["check", "nosuch", "--env", "prod"], 7, "APP_NOT_FOUND", /nosuch in environment prod/],
    [["rollback", "nosuch"], 7, "APP_NOT_FOUND", /nosuch/],
    [["stop", "nosuch"], 7, "APP_NOT_FOUND", /nosuch/],
    [["logs", "nosuch"], 7, "APP_NOT_FOUND", /nosuch/],
    [["watch", "nosuch"], 7, "APP_NOT_FOUND", /nosuch/],
    [["deploy", "nosuch", "0123abcd"], 7, "COMMIT_NOT_FOUND", /0123abcd/],
    [["check", "shop", "0123abcd"], 7, "RELEASE_NOT_FOUND", /0123abcd/],
    [["node", "show", "nosuch"], 7, "NODE_NOT_FOUND", /nosuch/],
    [["node", "rm", "nosuch", "--yes"], 7, "NODE_NOT_FOUND", /nosuch/],
    [["node", "rm", "nosuch"], 7, "NODE_NOT_FOUND", /nosuch/],
    [["node", "invite", "--replace", "nosuch"], 7, "NODE_NOT_FOUND", /nosuch/],
    [["node", "rm", "web1"], 2, "NAME_NOT_GIVEN", /web1 was not typed/],
    [["deploy", "shop", "nosuch", "HEAD"], 7, "NODE_NOT_FOUND", /nosuch/],
    [["stop", "shop", "--on", "role=none"], 7, "SELECTION_EMPTY", /role=none/],
    [["status", "--on", "nosuch"], 7, "NODE_NOT_FOUND", /nosuch/],
    [["list", "--on", "role=none"], 7, "SELECTION_EMPTY", /role=none/],
    [["ports", "--on", "nosuch"], 7, "NODE_NOT_FOUND", /nosuch/],
    [["node", "ls", "role=&"], 2, "SELECTOR_BAD", /role=&/],
    [["stop", "web.1@nosuch", "--app", "shop"], 7, "NODE_NOT_FOUND", /nosuch/],
    [["stop", "web.7@web1", "--app", "shop"], 7, "NOT_FOUND", /web\.7/],
    [["deploy", "--batch", "many"], 2, "USAGE", /many/],
    [["deploy", "--batch", "2", "--all-at-once"], 2, "AMBIGUOUS", /batch/],
    [["--timeout", "5", "status"], 2, "USAGE", /30s/],
    [["completion", "tcsh"], 2, "USAGE", /bash/],
    [["frobnicate"], 2, "USAGE", /frobnicate/],
    [["statsu"], 2, "USAGE", /status/],
    [["status", "--frobnicate"], 2, "USAGE", /--frobnicate/],
    [["node", "show"], 2, "USAGE", /name/],
  ];
  let repo = "";
  before(async () => {
    const shop = await sourceRepo(path.join(cluster.dir, "src/shop"));
    await shop.commit({ "skein.yaml": `app: shop\n${RUN}`, "server.js": server("shop v1") });
    await cluster.okIn(shop.dir, "deploy", ...FAST);
    repo = shop.dir;
  });

  test("an app of another environment is told to be there", async () => {
    for (const verb of ["check", "rollback", "stop", "watch", "logs", "drift", "status", "ports"]) {
      const error = await refused(cluster, [7, "APP_NOT_FOUND"], [verb, "shop", "--env", "prod"]);
      assert.match(error.message, /shop in environment prod$/);
      assert.equal(error.hint, "It is in default: say --env default.", verb);
    }
    assert.equal((await cluster.ok("status", "--env", "prod")).stderr, "Nothing in prod yet.\n");
  });
  for (const [args, exit, code, says] of CASES) {
    test(`skein ${args.join(" ")} ends with ${exit} ${code}`, async () => {
      const error = await refused(cluster, [exit, code], args, { cwd: repo });
      assert.match(`${error.message}\n${error.hint}`, says);
    });
  }

  test("an export finds what it is told, by commit or not at all, and is taken elsewhere", async () => {
    const file = path.join(cluster.dir, "exported.skein");
    await cluster.okIn(repo, "release", "export", "shop", "HEAD", "--output", file);
    assert.ok((await fs.stat(file)).size > 0);
    const elsewhere = ["--bucket", `dir:${path.join(cluster.dir, "elsewhere")}`];
    for (const [words, says] of [
      [[], /^shop@[0-9a-f]{8} is already in hub /],
      [elsewhere, /^shop@[0-9a-f]{8} is now in dir:/],
      [elsewhere, /^shop@[0-9a-f]{8} is already in dir:/],
    ] as const) {
      assert.match((await cluster.okIn(repo, "release", "import", file, ...words)).stdout, says);
    }
    const none = ["release", "export", "shop", "nope", "--output", `${file}-none`];
    await refused(cluster, [7, "RELEASE_NOT_FOUND"], none, { cwd: repo });
    await assert.rejects(fs.stat(`${file}-none`), { code: "ENOENT" });
  });
});

describe("a place that is not what was meant (long)", () => {
  test("a manifest with a mistake stops deployments, and nobody who looks, stops or goes back", async () => {
    const cwd = await source("mended", { "skein.yaml": `app: mended\n${RUN}`, "server.js": server("v1") });
    const manifest = path.join(cwd, "skein.yaml");
    await cluster.okIn(cwd, "deploy", "--from", ".", ...FAST);
    await fs.writeFile(path.join(cwd, "server.js"), server("v2"));
    await cluster.okIn(cwd, "deploy", "--from", ".", ...FAST);
    await fs.writeFile(manifest, "app: mended\nrunn: node server.js\n");
    for (const words of [["deploy"], ["deploy", "mended"], ["plan"]]) {
      const error = await refused(cluster, [2, "MANIFEST_INVALID"], words, { cwd });
      assert.match(error.message, /did you mean run\?/);
    }
    for (const verb of ["check", "logs", "drift", "watch"]) {
      assert.match((await cluster.okIn(cwd, verb)).stderr, /^note skein\.yaml:2:1: runn/m, verb);
    }
    assert.match((await cluster.okIn(cwd, "rollback")).stderr, /^Going back to mended@/m);
    await cluster.okIn(cwd, "stop");
    await fs.writeFile(manifest, "run: [\n");
    const unnamed = await refused(cluster, [2, "MANIFEST_INVALID"], ["rollback"], { cwd });
    assert.match(unnamed.hint, /Or name the app/);
  });

  test("a node that is not there is told before anything is built", async () => {
    const manifest = `app: unbuilt\nbuild: { run: "exit 9" }\n${RUN}`;
    const cwd = await source("unbuilt", { "skein.yaml": manifest, "server.js": server("v1") });
    for (const verb of ["deploy", "cp"])
      await refused(cluster, [7, "NODE_NOT_FOUND"], [verb, "--from", ".", "--on", "wbe1"], { cwd });
  });

  test("an empty folder has nothing to deploy", async () => {
    const cwd = await source("empty", {});
    const told = await refusedInWords(cluster, [2, "SOURCE_NOT_FOUND"], ["deploy"], { cwd });
    assert.ok(told.includes(cwd), told);
  });

  test("a path that is not there is named", async () => {
    const error = await refused(cluster, [2, "SOURCE_NOT_FOUND"], ["deploy", "./nosuch"]);
    assert.match(error.message, /nosuch/);
    const below = path.join(await source("a-file", { "a.txt": "" }), "a.txt", "below");
    await refused(cluster, [2, "SOURCE_NOT_FOUND"], ["deploy", "--from", below]);
  });

  test("a manifest that is named as a file is not released in the place of what it speaks of", async () => {
    const cwd = await source("by-file", { "skein.yaml": `app: by-file\n${RUN}`, "server.js": server("v1") });
    for (const args of [
      ["deploy", "./skein.yaml"],
      ["build", "./skein.yaml"],
      ["deploy", "--from", "skein.yaml"],
    ]) {
      const said = await refused(cluster, [2, "SOURCE_NOT_FOUND"], args, { cwd });
      assert.match(said.message, /says how to run what lies beside it/);
    }
  });

  test("outside a repository a commit is looked for on the hub, on whatever branch, and may not be there (long)", async () => {
    const cwd = await source("no-repository", { "skein.yaml": `app: bare\n${RUN}`, "server.js": "" });
    const lost = await refused(cluster, [7, "COMMIT_NOT_FOUND"], ["deploy", "bare", "HEAD"], { cwd });
    assert.match(lost.message, /bare/);
    const repo = await sourceRepo(path.join(cluster.dir, "src/bare"));
    const manifest = `app: bare\n${RUN.replace("auto", String(nextPort()))}`;
    const commit = async (says: string): Promise<string> =>
      await repo.commit({ "skein.yaml": manifest, "server.js": server(says) });
    await commit("master");
    await cluster.okGit(repo.dir, "push", cluster.gitUrl("bare"), "master");
    const older = await commit("older");
    await commit("newest");
    await cluster.okGit(repo.dir, "push", cluster.gitUrl("bare"), "master:side");
    for (const [version, says] of [
      [older, "older"],
      ["side", "newest"],
    ] as const) {
      await cluster.okIn(cwd, "deploy", "bare", version, ...FAST);
      assert.equal((await get(await urlOf(cluster, "bare"))).text, says);
    }
    await refused(cluster, [7, "COMMIT_NOT_FOUND"], ["deploy", "bare", "nowhere"], { cwd });
  });

  test("a folder that was never deployed is no app", async () => {
    const cwd = await source("some-folder", { "notes.txt": "" });
    const error = await refused(cluster, [7, "APP_NOT_FOUND"], ["rollback"], { cwd });
    assert.match(error.message, /some-folder/);
  });

  test("without a cluster every command says how to make one", async () => {
    const home = path.join(cluster.dir, "nobody");
    const told = await refusedInWords(cluster, [7, "NO_CLUSTER"], ["status"], { home });
    assert.match(told, /skein up/);
  });

  test("a hub that does not answer is named, and nothing hangs", async () => {
    const home = path.join(cluster.dir, "lonely");
    const address = `127.0.0.1:${await freePort()}`;
    const made = await cluster.skein(["init", "--hub", address], { home });
    assert.equal(made.code, 0, made.stderr);
    const dir = await source("lonely-app", { "skein.yaml": RUN, "server.js": "" });
    for (const args of [["status"], ["deploy", "--from", dir], ["node", "invite", "n9"]]) {
      const error = await refused(cluster, [1, "HUB_UNREACHABLE"], args, { home });
      assert.ok(error.message.includes(address), error.message);
    }
    const { stderr } = await cluster.skein(["status"], { home });
    assert.doesNotMatch(stderr, /restarting/, "nobody was ever there");
  });
});

describe("a version that is no good", () => {
  const CASES: readonly [
    what: string,
    cause: string,
    why: RegExp,
    manifest: string,
    files?: Readonly<Record<string, string>>,
  ][] = [
    [
      "is never ready",
      "HEALTH_TIMEOUT",
      /404|ready/,
      "run: node server.js\nlisten: auto\nhealth: { ready: { http: /up, every: 50ms, within: 2500ms } }\n",
      {
        "server.js": `require("node:http").createServer((q, r) => { r.statusCode = 404; r.end(); }).listen(process.env.PORT, process.env.HOST);\n`,
      },
    ],
    [
      "exits at once",
      "APP_EXITED",
      /exit status 7.*no database/,
      "run: node server.js\nlisten: auto\n",
      { "server.js": "console.error('no database'); process.exit(7);\n" },
    ],
    ["cannot be started", "START_FAILED", /nosuch-program/, "run: ./nosuch-program\nlisten: auto\n"],
    [
      "fails its verification",
      "VERIFY_FAILED",
      /smoke|verif/,
      `${RUN}verify: sh smoke.sh\n`,
      {
        "smoke.sh": "echo the greeting is wrong >&2; exit 1\n",
      },
    ],
    ["has a hook that fails", "HOOK_FAILED", /pre-jump/, RUN, { "pre-jump.sh": "#!/bin/sh\nexit 3\n" }],
    [
      "has a hook that hangs",
      "HOOK_TIMEOUT",
      /post-sync|post_sync/,
      `${RUN}hooks: { post_sync: { run: sleep 600, within: 500ms } }\n`,
    ],
    [
      "has a last hook that fails",
      "HOOK_FAILED",
      /post-jump/,
      RUN,
      {
        "post-jump.sh": "#!/bin/sh\nexit 3\n",
      },
    ],
    [
      "listens where it likes",
      "SOCKET_NOT_TAKEN",
      /did not listen on its socket http \(\$PORT\) within /,
      "run: node own.js\nlisten: PORT\nhealth: { ready: { tcp: true, within: 3s } }\n",
      { "own.js": `require("node:net").createServer().listen(0)` },
    ],
    [
      "cannot take the socket that is passed to it",
      "SOCKET_NOT_TAKEN",
      /binds its port itself/,
      "run: sh run.sh\nlisten: { http: { port: PORT, handover: socket } }\nhealth: { ready: { tcp: true, within: 5s } }\n",
      {
        "run.sh": `exec node -e 'require("node:net").createServer().listen(+process.env.PORT, process.env.HOST)'\n`,
      },
    ],
  ];
  for (const [what, cause, why, manifest, files] of CASES) {
    test(`one that ${what} is undone, and the old one serves all the time`, async () => {
      // Its port is attached before the last hook runs: until the undo the new one answers as well.
      const also = what.includes("last hook") ? ["bad"] : [];
      await using app = new Serving(await steady(), also);
      const text = manifest.replace("PORT", String(await freePort(cluster.nodes[0]?.address)));
      undoneOf(await app.fails([3, "DEPLOY_FAILED"], text, files), cause, why);
    });
  }

  test("one whose port another program holds is undone", async () => {
    const host = cluster.nodes[0]?.address;
    const other = net.createServer();
    await new Promise<void>((resolve) => other.listen(0, host, resolve));
    try {
      const address = other.address();
      assert.ok(typeof address === "object" && address !== null);
      await using app = new Serving(await steady());
      const text = RUN.replace("auto", String(address.port));
      const error = await app.fails([3, "DEPLOY_FAILED"], text);
      undoneOf(error, "PORT_TAKEN", new RegExp(String(address.port)));
    } finally {
      await new Promise((resolve) => other.close(resolve));
    }
  });

  test("one whose build or test fails is never deployed", async () => {
    await using app = new Serving(await steady());
    const heads = async (): Promise<unknown> => await cluster.json("status", "steady");
    const before = await heads();
    const build = await app.fails([1, "BUILD_FAILED"], `${RUN}build: echo compiling; exit 9\n`);
    assert.match(build.message, /build/);
    const tested = await app.fails(
      [1, "BUILD_FAILED"],
      `${RUN}build: { run: "true", test: "echo 1 of 3 failed; exit 1" }\n`,
    );
    assert.match(tested.message, /test/);
    assert.deepEqual(await heads(), before, "no order was made");
  });

  test("a first one that fails leaves nothing running, and says so", async () => {
    const dir = await source("bad-first", {
      "skein.yaml": "app: bad-first\nrun: node server.js\nlisten: auto\n",
      "server.js": "console.error('cannot find my config'); process.exit(1);\n",
    });
    const told = await refusedInWords(cluster, [3, "DEPLOY_FAILED"], ["deploy", "--from", dir, ...FAST]);
    assert.match(told, /^ {2}state {2}Nothing of it runs/m);
    assert.match(told, /cannot find my config/, "the app's last lines");
    assert.match(told, /^ {2}code {3}DEPLOY_FAILED \(APP_EXITED\)$/m);
    assert.deepEqual(
      (await cluster.ports()).filter((one) => one.app === "bad-first"),
      [],
    );
  });
});

test("two deployments of one app at once: the second is told to wait, and the first goes on", async () => {
  await using app = new Serving(await steady());
  const heard = path.join(cluster.dir, "second-heard");
  const slow = await source("busy-slow", {
    "skein.yaml": `app: steady\n${RUN}hooks: { pre_jump: { run: "until [ -e ${heard} ]; do sleep 0.05; done; exit 3" } }\n`,
    "server.js": server("never"),
  });
  await cluster.ok("deploy", "--from", slow, ...FAST, "--detach");
  const other = await source("busy-other", {
    "skein.yaml": `app: steady\n${RUN}`,
    "server.js": server("two"),
  });
  const error = await refused(cluster, [6, "DEPLOY_IN_PROGRESS"], ["deploy", "--from", other, ...FAST]);
  assert.match(error.hint, /skein watch steady\).*skein abort steady\)/);
  await fs.writeFile(heard, "");
  const watched = resultEvent(await cluster.skein(["--json", "watch", "steady"]));
  assert.deepEqual([watched.exit, watched.error?.code], [3, "DEPLOY_FAILED"]);
  app.unharmed();
});

test("a command whose time is up says that what it started goes on (long)", async () => {
  const timedOut = path.join(cluster.dir, "timed-out");
  const dir = await source("slow", {
    "skein.yaml": `app: slow\n${RUN}hooks: { pre_jump: { run: "until [ -e ${timedOut} ]; do sleep 0.05; done" } }\n`,
    "server.js": server("slow v1"),
  });
  const args = ["deploy", "--from", dir, ...FAST, "--timeout", "10s"];
  const error = await refused(cluster, [8, "TIMEOUT"], args);
  assert.match(error.message, /what was started goes on/);
  assert.match(error.hint, /skein watch slow/);
  await fs.writeFile(timedOut, "");
  await cluster.ok("watch", "slow");
  assert.equal((await get(await urlOf(cluster, "slow"))).text, "slow v1");
});

test("where nothing was ordered before the time was up, nothing is said to go on", async () => {
  const dir = await source("slow-build", {
    "skein.yaml": `app: slow\n${RUN}build: sleep 600\n`,
    "server.js": server("never"),
  });
  const error = await refused(cluster, [8, "TIMEOUT"], ["build", dir, "--timeout", "2s"]);
  assert.equal(error.message, "not done within 2s");
});

/** Can this process give another one a file system of its own? */
const canMount = (): boolean =>
  spawnSync("unshare", ["-m", "mount", "-t", "tmpfs", "x", "/mnt"]).status === 0;

test("a disk without room for a release: refused before the first byte, and the old one serves", async (t) => {
  if (!canMount()) {
    t.skip("a small disk needs a mount namespace of its own, which needs root");
    return;
  }
  // Slow, so that the next test finds it in the middle of an install.
  const script = 'mkdir -p "$0" && mount -t tmpfs -o size=12m skein "$0" && SKEIN_LIMIT_DOWN=2MiB exec "$@"';
  await cluster.addNode("small", {
    within: (home) => ["unshare", "-m", "sh", "-c", script, path.join(home, "lib")],
  });
  await using app = new Serving(await healthy("big", "targets: name=small\n"));
  const dir = await source("big-v2", {
    "skein.yaml": `app: big\ntargets: name=small\n${RUN}`,
    "server.js": server("big v2"),
  });
  await fs.writeFile(path.join(dir, "big.bin"), randomBytes(16 * 2 ** 20));
  const error = await refused(cluster, [1, "DISK_FULL"], ["deploy", "--from", dir, ...FAST]);
  assert.match(error.message, /does not fit on small$/);
  assert.match(String(error.data["lines"]), /small: needs 16\.\d MB, .* free/);
  assert.match(error.hint, /skein gc/);
  const planned = await cluster.skein(["plan", "--app", "big", "--version", String(error.data["release"])]);
  assert.equal(planned.code, 10);
  assert.match(planned.stdout, /small .*fetch (at most )?16\.\d MB +disk 16\.\d MB +DISK_FULL, .* short/);
  const staged = await refused(cluster, [1, "STAGE_FAILED"], ["cp", "--from", dir]);
  assert.equal(staged.data["cause"], "DISK_FULL", "the node itself sees that before the first byte, too");
  app.unharmed();
  // What was tried in vain has left nothing: a smaller one still fits.
  await fs.rm(path.join(dir, "big.bin"));
  await cluster.ok("deploy", "--from", dir, ...FAST);
  assert.equal((await get(await urlOf(cluster, "big"))).text, "big v2");
});

test("a disk that fills in the middle of an install: the old one serves, and the next try works once there is room (long)", async (t) => {
  if (!canMount()) return t.skip("a small disk needs a mount namespace of its own, which needs root");
  const node = cluster.nodes.find(({ name }) => name === "small");
  assert.ok(node);
  await using app = new Serving(await healthy("fills", "targets: name=small\n"));
  const dir = await source("fills-v2", {
    "skein.yaml": `app: fills\ntargets: name=small\n${RUN}`,
    "server.js": server("fills v2"),
  });
  for (let n = 0; n < 800; n++) await fs.writeFile(path.join(dir, `part-${n}`), randomBytes(8192));
  // As its own mount namespace shows it.
  const lib = `/proc/${node.pid}/root${path.join(node.home, "lib")}`;
  const deploying = refused(cluster, [3, "DEPLOY_FAILED"], ["deploy", "--from", dir, ...FAST]);
  await eventually("the install has put down some files", () => countFiles(lib) > 40, {
    everyMs: 1,
    signal: stop.signal,
  });
  process.kill(node.pid, "SIGSTOP");
  fillDisk(path.join(lib, "filler"));
  process.kill(node.pid, "SIGCONT");
  const error = await deploying;
  assert.equal(error.data["cause"], "DISK_FULL", error.message);
  assert.match(error.message, /failed on small/);
  app.unharmed();
  await fs.rm(path.join(lib, "filler"));
  await cluster.ok("deploy", "--from", dir, ...FAST);
  assert.equal((await get(await urlOf(cluster, "fills"))).text, "fills v2");
});

test("on a disk without any room an order is taken, carried out and reported, and there is room to say so again (long)", async (t) => {
  if (!canMount()) return t.skip("a small disk needs a mount namespace of its own, which needs root");
  const node = cluster.nodes.find(({ name }) => name === "small");
  assert.ok(node);
  const lib = `/proc/${node.pid}/root${path.join(node.home, "lib")}`;
  const reserve = path.join(lib, "state/reserve");
  assert.equal(statSync(reserve).size, 2 ** 20);
  fillDisk(path.join(lib, "filler"));
  await cluster.ok("rollback", "fills");
  await cluster.until("the version before serves alone", async () => {
    return (await get(await urlOf(cluster, "fills"))).text === "fills v1";
  });
  // What the agent was about to replace when the disk was filled has left some room, and it may need no more.
  for (; statSync(reserve, { throwIfNoEntry: false }) !== undefined; await cluster.ok("restart", "fills"))
    fillDisk(path.join(lib, "filler"));
  await fs.rm(path.join(lib, "filler"));
  await cluster.ok("restart", "fills");
  assert.equal(statSync(reserve).size, 2 ** 20, "it was taken again");
});

test("an instance is of the app that is named, or whose folder one stands in, where its node has several", async () => {
  const stopped = ["stop", "web.9@web1"];
  const { hint } = await refused(cluster, [2, "USAGE"], stopped);
  assert.match(hint, /^Say --app: .*shop/);
  const cwd = await source("shop-here", { "skein.yaml": `app: shop\n${RUN}` });
  const { message } = await refused(cluster, [7, "NOT_FOUND"], stopped, { cwd });
  assert.match(message, /web\.9 of shop/);
  await refused(cluster, [7, "NOT_FOUND"], [...stopped, "--env", "none"]);
});

/** Files of releases that are being put down. */
function countFiles(lib: string): number {
  const revs = path.join(lib, "apps/fills/revs");
  const names = readdirSync(revs, { recursive: true, encoding: "utf8" });
  return names.filter((name) => /part-\d+$/.test(name)).length;
}

/** Takes all the room there is, beside what it has taken. */
function fillDisk(file: string): void {
  const fd = openSync(file, "a");
  try {
    for (const block = Buffer.alloc(4096); ;) writeSync(fd, block);
  } catch (err) {
    assert.equal((err as NodeJS.ErrnoException).code, "ENOSPC");
  } finally {
    closeSync(fd);
  }
}
