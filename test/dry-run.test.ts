/** `--dry-run`: every verb says what it would do, fails as it would, and changes nothing anywhere. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import fs from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";
import { FAST, RUN, serverSource, writeSource } from "./support/apps.ts";
import { type Cluster, startCluster } from "./support/cluster.ts";
import type { Result } from "./support/run.ts";
import { eventually } from "../src/lib/testing/eventually.fixture.ts";
import { openSqliteStore } from "../src/store/sqlite.ts";
import { resultEvent } from "./support/refusals.ts";

let cluster: Cluster;
let stop: AbortController;
let source: string;
/** Of the app's two releases, older first. */
let releases: readonly [string, string];

before(async () => {
  stop = new AbortController();
  cluster = await startCluster({ signal: stop.signal });
  await cluster.addNodes({ n1: { labels: { role: "web" } }, n2: {} });
  source = await shop("one");
  const one = await deployed();
  source = await shop("two");
  releases = [one, await deployed()];
  source = await shop("three");
  await cluster.until("the old instances are gone", async () => (await cluster.ports()).length === 2);
});

after(async () => {
  stop.abort();
  await cluster[Symbol.asyncDispose]();
});

async function shop(text: string): Promise<string> {
  return await writeSource(cluster, "shop", {
    "skein.yaml": `app: shop\n${RUN}`,
    "server.js": serverSource(text),
  });
}

async function deployed(): Promise<string> {
  const { release } = await cluster.json("deploy", "--from", source, ...FAST);
  return release as string;
}

/** What reading leaves, and what the hub makes of a release in its own time. */
const PASSING =
  /^(run|log|etc\/operator\/cache|lib\/depot\/blobs\/(deltas|index))\/|^etc\/operator\/session\.json$|^lib\/hub\/store\.db/;

const VIEW = /^\/nodes\/[^/]+\/view$/;

/** Of what the hub heard from a node, what does not change by itself on a busy machine. */
const lasting = (view: string): unknown => {
  const {
    present: _present,
    lastSeen: _lastSeen,
    skewMs: _skewMs,
    roomBytes: _room,
    ...rest
  } = JSON.parse(view);
  return rest;
};

/** What the hub's store holds: a failure tells the key, and what the file does with its log is no change. */
async function stored(): Promise<Record<string, unknown>> {
  const copy = path.join(cluster.dir, "store.db");
  // The hub alone may have its store open.
  await Promise.all(
    ["", "-wal"].map((end) =>
      fs.copyFile(path.join(cluster.hub.home, `lib/hub/store.db${end}`), `${copy}${end}`),
    ),
  );
  await using store = await openSqliteStore(copy);
  const { entries } = await store.range("");
  return Object.fromEntries(entries.map(({ key, value }) => [key, VIEW.test(key) ? lasting(value) : value]));
}

/** Every file of a folder by what is in it. */
async function contents(home: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const entry of await fs.readdir(home, { recursive: true, withFileTypes: true })) {
    const file = path.join(entry.parentPath, entry.name);
    const name = path.relative(home, file);
    if (PASSING.test(`${name}/`) || PASSING.test(name)) continue;
    if (entry.isSymbolicLink()) found[name] = await fs.readlink(file);
    if (entry.isFile())
      found[name] = createHash("sha256")
        .update(await fs.readFile(file))
        .digest("hex");
  }
  return found;
}

/** Operator, hub and nodes as they are on disk, and the instances that run. */
async function everything(): Promise<unknown> {
  const homes = [cluster.operatorHome, cluster.hub.home, ...cluster.nodes.map(({ home }) => home)];
  const ports = (await cluster.ports()).map(({ instance, state }) => [instance, state]);
  return [await Promise.all(homes.map(contents)), await stored(), ports];
}

/** The same, when what was done before has come to rest: on a busy machine that may pause for long. */
async function atRest(): Promise<unknown> {
  let [last, same] = ["", 0];
  const look = async (): Promise<unknown> => {
    const now = await everything();
    const text = JSON.stringify(now);
    same = text === last ? same + 1 : 0;
    last = text;
    return same === 4 ? now : undefined;
  };
  return await eventually("everything at rest", look, { everyMs: 250 });
}

interface Would {
  readonly deed: string;
  readonly nodes?: readonly unknown[];
  readonly [field: string]: unknown;
}

async function would(...args: readonly string[]): Promise<readonly Would[]> {
  const result = await cluster.skein(["--json", "--dry-run", ...args]);
  assert.equal(result.code, 0, `${args.join(" ")}: ${result.stdout}${result.stderr}`);
  const told = resultEvent(result) as unknown as { dryRun: boolean; would?: readonly Would[] };
  assert.equal(told.dryRun, true);
  return told.would ?? [];
}

/** How a command failed, as scripts see it; what the hub answered with is not for them. */
async function failed(...args: readonly string[]): Promise<unknown> {
  return failureIn(await cluster.skein(["--json", ...args]));
}

function failureIn(result: Result): unknown {
  const { error } = resultEvent(result);
  assert.ok(error, result.stdout);
  const { status: _status, ...data } = error.data;
  return { exit: result.code, ...error, data };
}

test("an order is told with its nodes, from which release to which, and nothing is ordered (long)", async () => {
  const [one, two] = releases;
  const rest = await atRest();
  const change = (node: string, to: string | null) => ({ node, present: true, from: two, to, change: true });
  const both = (to: string | null) => [change("n1", to), change("n2", to)];

  const [stopped] = await would("stop", "shop");
  assert.deepEqual(
    [stopped?.deed, stopped?.["state"], stopped?.["seq"], stopped?.nodes],
    ["order", "stopped", 3, both(null)],
  );
  const [back, ...more] = await would("rollback", "shop", "--on", "role=web");
  assert.deepEqual([back?.["release"], back?.["state"], back?.nodes], [one, "run", [change("n1", one)]]);
  assert.deepEqual(more, []);
  const [again] = await would("restart", "shop");
  assert.deepEqual([again?.["generation"], again?.nodes], [1, both(two)]);
  const [started] = await would("start", "shop");
  const same = (node: string) => ({ ...change(node, two), change: false });
  assert.deepEqual(started?.nodes, [same("n1"), same("n2")]);
  assert.deepEqual(
    (await would("stop", "shop", "--all", "--now")).map(({ deed }) => deed),
    ["stop-now", "order"],
  );

  const said = await cluster.ok("rollback", "shop", "--dry-run");
  const rows = ["n1", "n2"].map((node) => `  ${node}  shop@${two.slice(0, 8)}  -> shop@${one.slice(0, 8)}`);
  assert.equal(
    said.stdout,
    [
      `order #3 of shop/default: shop@${one.slice(0, 8)} would run on 2 nodes`,
      ...rows.map((row) => `${row}\n`),
    ]
      .join("\n")
      .replaceAll("\n\n", "\n"),
  );
  assert.match(
    said.stderr,
    /^Going back to shop@[^]*^nodes {2}all: n1 n2$[^]*nothing was signed, sent or changed/m,
  );
  assert.deepEqual(await everything(), rest);
});

test("whatever else changes something is told, and does not (long)", async () => {
  const rest = await atRest();
  const [, two] = releases;
  const deeds = async (...args: readonly string[]): Promise<readonly string[]> =>
    (await would(...args)).map(({ deed }) => deed);
  const rows: readonly (readonly [readonly string[], readonly string[]])[] = [
    [
      ["cp", "--from", source],
      ["release", "stage"],
    ],
    [["cp", "shop", two], ["stage"]],
    [["build", source], ["release"]],
    [["stop", "web.1@n1"], ["stop-instance"]],
    [["restart", "web.1@n1"], ["restart-instance"]],
    [["start", "web.1@n1"], ["start-instance"]],
    [["node", "invite", "n3", "--label", "role=db"], ["invite"]],
    [["node", "invite", "--replace", "n1"], ["invite"]],
    [["node", "label", "n2", "role=web"], ["label"]],
    [["node", "rm", "n2"], ["revoke"]],
    [["releases", "pin", "shop", two], ["pin"]],
    [["releases", "unpin", "shop", two], ["unpin"]],
    [["repair", "shop"], []],
    [["repair", "shop", "--full-copy"], ["repair"]],
    [["cache", "flush"], ["cache-flush"]],
    [["cache", "flush", "--on", "n1"], ["cache-flush"]],
    [["gc", "shop", "--count", "1"], []],
    [["gc", "--depot"], []],
    [["cache", "gc", "--on", "n1", "count", "0"], []],
    [["hub", "install"], []],
  ];
  await Promise.all(
    rows.map(async ([args, wanted]) => assert.deepEqual(await deeds(...args), wanted, args.join(" "))),
  );
  const planned = await cluster.skein(["--json", "deploy", "--from", source, "--dry-run"]);
  assert.equal(planned.code, 10, "a deployment's dry run is its plan");
  assert.equal((resultEvent(planned) as unknown as { plan: { isNew: boolean } }).plan.isNew, true);
  assert.deepEqual(await everything(), rest);
});

test("a dry run is refused as the real command is (long)", async () => {
  const rest = await atRest();
  const rows: readonly (readonly string[])[] = [
    ["stop", "nope"],
    ["restart", "shop@abcd"],
    ["stop", "shop", "--on", "role=nobody"],
    ["stop", "shop", "--on", "n9"],
    ["stop", `shop@${releases[0]}`],
    ["stop", `shop@${releases[0]}`, "--now"],
    ["rollback", "nope"],
    ["rollback", "shop", "--to", "abcd"],
    ["rollback", "shop", "--env", "prod"],
    ["cp", "shop", "abcd"],
    ["cp", "shop", "--on", "n9"],
    ["deploy", "shop", "abcd"],
    ["deploy", "--from", source, "--on", "n9"],
    ["build", "./nope"],
    ["node", "label", "n9", "a=b"],
    ["node", "label", "n1", "a b=c"],
    ["node", "rm", "n9", "--yes"],
    ["node", "invite", "--replace", "n9", "--yes"],
    ["releases", "pin", "shop", "abcd"],
    ["purge", "shop", releases[1]],
    ["abort", "shop"],
    ["pause", "shop"],
    ["resume", "shop"],
    ["abort", "nope"],
    ["release", "import", "nope.skein"],
  ];
  await Promise.all(
    rows.map(async (args) => {
      const [real, dry] = await Promise.all([failed(...args), failed(...args, "--dry-run")]);
      assert.deepEqual(dry, real, args.join(" "));
    }),
  );
  assert.deepEqual(await everything(), rest);
});

test("while a deployment is under way, another one's dry run says so, and one may say what it would be told (long)", async () => {
  const held = path.join(cluster.dir, "held");
  await fs.mkdir(held);
  await fs.chmod(held, 0o777); // hooks run as users of their own
  const slow = await writeSource(cluster, "slow", {
    "skein.yaml": `app: shop\n${RUN}hooks: { pre_jump: { run: "touch ${held}/$SKEIN_NODE; until [ -e ${cluster.dir}/go ]; do sleep 0.05; done", within: 10m } }\n`,
    "server.js": serverSource("slow"),
  });
  await cluster.ok("deploy", "--from", slow, ...FAST, "--detach");
  await cluster.until("every node is held there", async () => {
    const names = await fs.readdir(held);
    return cluster.nodes.every(({ name }) => names.includes(name));
  });
  const waits = await failed("stop", "shop");
  assert.equal((waits as { exit: number }).exit, 6);
  assert.deepEqual(await failed("stop", "shop", "--dry-run"), waits);
  assert.deepEqual(await failed("deploy", "shop", releases[0], "--dry-run"), waits);
  const rest = await atRest();
  for (const word of ["abort", "pause", "resume"]) {
    const [deed] = await would(word, "shop");
    assert.deepEqual([deed?.deed, deed?.["app"]], [word, "shop"]);
  }
  assert.deepEqual(await everything(), rest);
  await fs.writeFile(path.join(cluster.dir, "go"), "");
  await cluster.ok("watch", "shop");
});

test("in a bucket nothing is written either", async () => {
  const bucket = path.join(cluster.dir, "bucket");
  const home = path.join(cluster.dir, "bucket-op");
  const options = { home, env: { SKEIN_BUCKET: `dir:${bucket}` } };
  const run = async (...args: readonly string[]) => {
    const result = await cluster.skein(["--json", ...args], options);
    assert.equal(result.code, 0, `${args.join(" ")}: ${result.stdout}${result.stderr}`);
    return resultEvent(result) as unknown as { would?: readonly Would[]; revision?: string };
  };
  await run("init");
  await fs.writeFile(path.join(cluster.dir, "site"), "1");
  const { revision: one = "" } = await run("spool", "site");
  await run("jump", "--master", `site.${one}`);
  await fs.writeFile(path.join(cluster.dir, "site"), "2");
  const { revision: two = "" } = await run("spool", "site");
  await fs.writeFile(path.join(cluster.dir, "site"), "3");
  const rest = [await contents(bucket), await contents(home)];
  const rows: readonly (readonly [readonly string[], readonly string[]])[] = [
    [["spool", "site"], ["release"]],
    [
      ["spool", "site", "--layout", "ftl"],
      ["release", "layout"],
    ],
    [["jump", "--master", `site.${two}`], ["order"]],
    [["jump", "--master", `site.${one}`], []],
    [["purge", "--master", `site.${two}`], ["purge"]],
    [
      ["deploy", "--from", source, ...FAST],
      ["release", "order"],
    ],
    [["stop", "site"], ["order"]],
    [["restart", "site"], ["order"]],
    [["rollback", "site", "--to", two], ["order"]],
    [["node", "invite", "m1"], ["invite"]],
  ];
  for (const [args, wanted] of rows) {
    const { would: told = [] } = await run(...args, "--dry-run");
    assert.deepEqual(
      told.map(({ deed }) => deed),
      wanted,
      args.join(" "),
    );
  }
  for (const args of [
    ["stop", "nope"],
    ["stop", "site", "--on", "role=="],
    ["jump-back", "--master", "site"],
    ["purge", "--master", `site.${one}`],
  ]) {
    const real = failureIn(await cluster.skein(["--json", ...args], options));
    assert.deepEqual(failureIn(await cluster.skein(["--json", ...args, "--dry-run"], options)), real);
  }
  assert.deepEqual([await contents(bucket), await contents(home)], rest);
});
