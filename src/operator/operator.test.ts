import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  existsSync,
  utimesSync,
} from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { nodeKeys } from "../agent/node/node-keys.ts";
import { HubClient } from "../api/hub-client.ts";
import type { PortEntry } from "../api/schemas.ts";
import { systemClock } from "../lib/time/clock.ts";
import { SkeinError } from "../lib/errors/errors.ts";
import type { KeyId, ReleaseId } from "../lib/text/ids.ts";
import { pathsFrom } from "../lib/disk/paths.ts";
import { timeOf } from "../trust/document/fields.ts";
import { openOrder } from "../trust/orders/orders.ts";
import { tlsIdentity } from "../trust/connection/tls.ts";
import { cluster } from "./cluster.fixture.ts";
import { deploy } from "./deploy/deploy.ts";
import { buildRelease, findTarget } from "./deploy/target.ts";
import { DryRun } from "./tell/dry-run.ts";
import { parseHub, readCharters } from "./identity/home.ts";
import { hubsFor } from "./identity/signer-and-hubs.ts";
import { backupHub } from "./server/hub-server.ts";
import { initCluster } from "./server/init.ts";
import { knownNodes, labelNode, nodeNamed, removeNode, selectNodes } from "./nodes/nodes.ts";
import { offerCharter, openOperator, refuseTaken } from "./identity/operator.ts";
import { readLine } from "./order/order.ts";
import { planDeploy } from "./deploy/plan.ts";
import { deliverEarlier, send } from "./order/sent.ts";
import { originOf } from "./source/source.ts";
import { portsByCommit, statusOf } from "./view/views.ts";

const git = (cwd: string, ...args: string[]): string =>
  execFileSync("git", ["-c", "user.name=a", "-c", "user.email=a@b", ...args], {
    cwd,
    encoding: "utf8",
  }).trim();

test("the identity is this user's alone, made once, and its session is kept", async (t) => {
  const { paths, operator, signal } = await cluster(t);
  const dir = path.join(paths.etc, "operator");
  assert.equal(statSync(dir).mode & 0o777, 0o700);
  assert.equal(statSync(path.join(dir, "operator.key")).mode & 0o777, 0o600);
  assert.equal(statSync(path.join(dir, "session.json")).mode & 0o777, 0o600);
  for (const same of [{}, { name: "ann", key: "file" }] as const) {
    const again = await initCluster({ paths, ...same, hubs: [], clock: systemClock });
    assert.deepEqual([again.already, again.operator, again.pin], [true, "ann", operator.pin]);
  }
  for (const [other, said] of [
    [{ name: "bob" }, /calls its operator ann$/],
    [{ key: "ssh-agent" }, /is signed for with a key file$/],
  ] as const)
    await assert.rejects(initCluster({ paths, ...other, hubs: [], clock: systemClock }), {
      code: "USAGE",
      message: said,
    });
  const before = readFileSync(path.join(dir, "session.json"), "utf8");
  using second = await openOperator({ paths, signal });
  assert.equal(second.signer.kid, operator.signer.kid);
  assert.equal(readFileSync(path.join(dir, "session.json"), "utf8"), before);
});

test("an init that was cut after the charter goes on with that charter", async (t) => {
  const { paths, operator } = await cluster(t);
  rmSync(path.join(paths.etc, "operator", "operator.json"));
  const other = initCluster({ paths, name: "bob", hubs: [], clock: systemClock });
  await assert.rejects(other, { code: "USAGE" });
  const made = await initCluster({ paths, hubs: [], clock: systemClock });
  assert.deepEqual([made.pin, made.operator], [operator.pin, "ann"], "as that charter calls who made it");
  assert.equal((await readCharters(paths)).length, 1);
});

test("nodes are proved by their documents, relabelled, selected and removed", async (t) => {
  const { operator, absent, signal } = await cluster(t);
  await absent("web1", { role: "web" });
  await absent("canary");
  await labelNode(operator, "web1", { canary: "true", zone: "a" }, signal);
  const nodes = await knownNodes(operator, signal);
  assert.deepEqual(nodeNamed(nodes, "web1").identity.labels, { role: "web", canary: "true", zone: "a" });
  const names = (selector: string): string[] =>
    selectNodes(nodes, selector).nodes.map(({ identity }) => identity.name);
  assert.deepEqual(names("role=web & zone=a"), ["web1"]);
  assert.deepEqual(names("all"), ["canary", "web1"]);
  assert.throws(() => names("canary"), { code: "SELECTOR_AMBIGUOUS" });
  assert.throws(() => names("role=db"), { code: "SELECTION_EMPTY" });
  assert.throws(() => names("role="), { code: "SELECTOR_BAD" });
  await removeNode(operator, "canary", signal);
  assert.equal((await knownNodes(operator, signal)).length, 1);
  await assert.rejects(removeNode(operator, "nobody", signal), { code: "NODE_NOT_FOUND" });
});

test("a folder becomes a release and a signed order; absent nodes are said to be absent, and need no receipts", async (t) => {
  const { operator, absent, options, dir, events, signal } = await cluster(t);
  await absent("n1");
  mkdirSync(path.join(dir, "app"));
  writeFileSync(path.join(dir, "app", "readme.txt"), "hello");
  const published = await deploy(operator, options({ from: path.join(dir, "app") }));
  assert.equal(published.draft.needs, 0);
  const { order } = published.draft;
  assert.deepEqual(
    [order.app, order.env, order.seq, order.prev, order.fallback],
    ["app", "default", 1, null, null],
  );
  assert.deepEqual(
    events.map(({ type }) => type).filter((type) => type !== "publishing"),
    ["release", "selection", "warning", "order"],
  );
  const selection = events.find((event) => event.type === "selection");
  assert.deepEqual([selection?.implied, selection?.nodes, selection?.absent], [true, ["n1"], ["n1"]]);
  const line = await readLine(operator, "app", "default", signal);
  assert.equal(line.head?.digest, published.order);
});

test("a node that counts as away for its clock is said to", async (t) => {
  const { operator, absent, options, dir, events, signal } = await cluster(t);
  await absent("n1");
  const { signer } = await nodeKeys(path.join(dir, "n1"));
  const hubs = hubsFor(operator.config, operator.charter);
  using node = new HubClient({ hubs, identity: tlsIdentity(signer.privateKey, "node") });
  const at = timeOf(Date.now() - 3_600_000);
  const nothing = { receipts: [], instances: [], apps: [], progress: [] };
  await node.report({ boot: "boot-0001", at, address: "127.0.0.1", version: "0", knows: [], ...nothing });
  mkdirSync(path.join(dir, "app"));
  writeFileSync(path.join(dir, "app", "readme.txt"), "hello");
  await deploy(operator, options({ from: path.join(dir, "app") }));
  const warning = events.find((event) => event.type === "warning");
  assert.equal(warning?.code, "CLOCK_SKEW");
  assert.match(warning.text, /n1 \(1h/);
  const [app] = await statusOf(operator, "app", "default", signal);
  assert.match(app?.nodes[0]?.note ?? "", /CLOCK_SKEW/);
});

test("a plan says that the same release would be started again where it failed (long)", async (t) => {
  const { operator, absent, options, dir } = await cluster(t);
  await absent("n1");
  const from = path.join(dir, "app");
  mkdirSync(from);
  writeFileSync(path.join(from, "readme.txt"), "hello");
  const { draft } = await deploy(operator, options({ from }));
  const { signer } = await nodeKeys(path.join(dir, "n1"));
  const hubs = hubsFor(operator.config, operator.charter);
  using node = new HubClient({ hubs, identity: tlsIdentity(signer.privateKey, "node") });
  const { app, env, release } = draft.order;
  const nothing = { receipts: [], instances: [], progress: [] };
  const about = { boot: "boot-0001", address: "127.0.0.1", version: "0", knows: [], ...nothing };
  const planned = async (state: string, more: object = {}): Promise<unknown> => {
    const apps = [{ app, env, release, state, head: null, ...more }];
    await node.report({ ...about, at: timeOf(Date.now()), apps });
    const { changes, nodes } = await planDeploy(operator, options({ from }));
    return [changes, nodes[0]?.from, nodes[0]?.change, nodes[0]?.holds];
  };
  assert.deepEqual(await planned("running"), [0, release, false, null]);
  assert.deepEqual(await planned("failed"), [1, release, true, null]);
  assert.deepEqual(await planned("running", { env: "staging" }), [1, null, true, "staging"]);
  assert.deepEqual(await planned("stopped", { env: "staging", release: null }), [1, null, true, null]);
});

test("a commit is released from its own content; what is not committed is left and told (long)", async (t) => {
  const { operator, absent, options, dir, events, signal } = await cluster(t);
  await absent("n1");
  const repo = path.join(dir, "shop");
  mkdirSync(repo);
  git(repo, "init", "-q", "-b", "main");
  writeFileSync(path.join(repo, "skein.yaml"), "kind: files\n");
  git(repo, "add", "-A");
  git(repo, "commit", "-qm", "one");
  const commit = git(repo, "rev-parse", "HEAD");
  writeFileSync(path.join(repo, "more"), "not committed");
  assert.equal((await originOf(repo, signal)).left.length, 1);
  const before = await planDeploy(operator, options({ cwd: repo }));
  assert.deepEqual([before.isNew, before.commit, before.changes], [true, commit, 1]);
  assert.equal((await operator.client.releases({}, signal)).length, 0, "nothing was published");
  const published = await deploy(operator, options({ cwd: repo }));
  const release = events.find((event) => event.type === "release");
  assert.deepEqual([release?.app, release?.commit, release?.files], ["shop", commit, 1]);
  assert.match(
    events.find((event) => event.type === "warning")?.text ?? "",
    /1 uncommitted change is not deployed/,
  );
  const known = await planDeploy(operator, options({ cwd: repo, app: "shop", version: "main" }));
  assert.equal(known.release, published.draft.order.release);
  assert.deepEqual(
    [before.release, known.isNew],
    [known.release, false],
    "the id was known before it was made",
  );
  await assert.rejects(deploy(operator, options({ cwd: dir, app: "nothere" })), { code: "COMMIT_NOT_FOUND" });
  writeFileSync(path.join(dir, "tool"), "");
  const hint = "tool here is named as a path: ./tool.";
  await assert.rejects(deploy(operator, options({ cwd: dir, app: "tool" })), {
    code: "COMMIT_NOT_FOUND",
    hint,
  });
});

test("a manifest that was written but not committed is not passed over (long)", async (t) => {
  const { absent, operator, options, dir, events } = await cluster(t);
  await absent("n1");
  const repo = path.join(dir, "shop");
  mkdirSync(repo);
  git(repo, "init", "-q", "-b", "main");
  writeFileSync(path.join(repo, "server.js"), "");
  git(repo, "add", "-A");
  git(repo, "commit", "-qm", "one");
  writeFileSync(path.join(repo, "skein.yaml"), "app: shop\nkind: files\ntargets: n1\n");
  const refused = { code: "MANIFEST_UNCOMMITTED", hint: /^Commit it: git add skein\.yaml/ } as const;
  await assert.rejects(deploy(operator, options({ cwd: repo })), refused);
  await assert.rejects(deploy(operator, options({ cwd: repo, app: "shop" })), refused);
  await assert.rejects(planDeploy(operator, options({ cwd: repo })), refused);
  const exclude = path.join(repo, ".git", "info", "exclude");
  writeFileSync(exclude, "*.yaml\n");
  const ignored = { ...refused, hint: /^git ignores it\. Commit it: git add --force skein\.yaml/ };
  await assert.rejects(deploy(operator, options({ cwd: repo })), ignored);
  events.length = 0;
  await findTarget(operator, options({ cwd: repo, app: "shop", version: "HEAD" }));
  const [told] = events.flatMap((event) => (event.type === "warning" ? [event.text] : []));
  assert.match(told ?? "", /^skein\.yaml here is not in the commit/, "who names a commit is told");
  rmSync(exclude);
  git(repo, "add", "-A");
  await assert.rejects(deploy(operator, options({ cwd: repo })), refused);
  git(repo, "commit", "-qm", "two");
  writeFileSync(path.join(repo, "skein.yaml"), "app: shop\nkind: files\n");
  const { draft } = await deploy(operator, options({ cwd: repo }));
  assert.equal(draft.order.selector, "name=n1", "a change of it is left, and told, as any other");
});

test("a folder below a manifest is no app of its own, unless it is named", async (t) => {
  const { absent, operator, options, dir } = await cluster(t);
  await absent("n1");
  const repo = path.join(dir, "shop");
  const below = path.join(repo, "src/deep");
  mkdirSync(below, { recursive: true });
  git(repo, "init", "-q", "-b", "main");
  writeFileSync(path.join(repo, "skein.yaml"), "app: shop\nkind: files\n");
  writeFileSync(path.join(below, "server.js"), "");
  git(repo, "add", "-A");
  git(repo, "commit", "-qm", "one");
  const refused = { code: "SOURCE_NOT_FOUND", hint: /cd \.\.\/\.\.\./ } as const;
  await assert.rejects(deploy(operator, options({ cwd: below })), refused);
  await assert.rejects(planDeploy(operator, options({ cwd: below })), refused);
  assert.equal((await deploy(operator, options({ cwd: repo }))).draft.order.app, "shop");
  assert.equal((await deploy(operator, options({ cwd: below, app: "deep" }))).draft.order.app, "deep");
});

test("a version of an app is not taken from a folder that is not the app's", async (t) => {
  const { absent, operator, options, dir } = await cluster(t);
  await absent("n1");
  const repo = path.join(dir, "mono");
  const shop = path.join(repo, "apps/shop");
  mkdirSync(path.join(shop, "src"), { recursive: true });
  git(repo, "init", "-q", "-b", "main");
  writeFileSync(path.join(shop, "skein.yaml"), "kind: files\n");
  writeFileSync(path.join(shop, "src/server.js"), "");
  git(repo, "add", "-A");
  git(repo, "commit", "-qm", "one");
  const asked = { app: "shop", version: "HEAD" };
  const message = /^skein\.yaml of shop is in apps\/shop, not in/;
  for (const [cwd, to] of [
    [repo, "apps/shop"],
    [path.join(shop, "src"), ".."],
    [path.join(repo, "apps"), "shop"],
  ] as const) {
    const refused = { code: "SOURCE_NOT_FOUND", message, hint: `Run it there, in a checkout: cd ${to}` };
    await assert.rejects(deploy(operator, options({ cwd, ...asked })), refused);
    await assert.rejects(planDeploy(operator, options({ cwd, ...asked })), refused);
  }
  const { draft } = await deploy(operator, options({ cwd: shop, ...asked }));
  assert.equal(draft.order.app, "shop");
  const other = await deploy(operator, options({ cwd: repo, app: "other", version: "HEAD" }));
  assert.equal(other.draft.order.app, "other", "what no manifest speaks of goes by conventions");
});

test("a folder that says nothing of itself is not deployed by accident", async (t) => {
  const { operator, absent, options, dir } = await cluster(t);
  await absent("n1");
  const empty = path.join(dir, "empty");
  mkdirSync(empty);
  await assert.rejects(deploy(operator, options({ cwd: empty })), { code: "SOURCE_NOT_FOUND" });
  await assert.rejects(planDeploy(operator, options({ cwd: empty })), { code: "SOURCE_NOT_FOUND" });
  writeFileSync(path.join(empty, "private.txt"), "mine\n");
  await assert.rejects(
    deploy(operator, options({ cwd: empty, app: "empty" })),
    { code: "COMMIT_NOT_FOUND", hint: /--from \./ },
    "not for its name either",
  );
  writeFileSync(path.join(empty, "post-sync.sh"), "true\n");
  const { draft } = await deploy(operator, options({ cwd: empty }));
  assert.equal(draft.order.app, "empty");
});

test("a plan means what a deployment of the same words means (long)", async (t) => {
  const { operator, absent, options, dir } = await cluster(t);
  await absent("n1");
  const repo = path.join(dir, "shop");
  mkdirSync(repo);
  writeFileSync(path.join(repo, "skein.yaml"), "kind: files\n");
  const folder = await planDeploy(operator, options({ cwd: repo }));
  const first = await findTarget(operator, options({ cwd: repo }));
  assert.equal(folder.release, first.release, "a folder that is no commit");
  const again = await planDeploy(operator, options({ cwd: repo }));
  assert.deepEqual([again.release, again.isNew], [folder.release, false]);
  git(repo, "init", "-q", "-b", "main");
  git(repo, "add", "-A");
  git(repo, "commit", "-qm", "one");
  const commit = await planDeploy(operator, options({ cwd: repo }));
  const second = await findTarget(operator, options({ cwd: repo }));
  assert.equal(commit.release, second.release, "a commit that was not published yet");
  const known = await planDeploy(operator, options({ cwd: repo }));
  assert.deepEqual([known.release, known.isNew], [commit.release, false]);
  const elsewhere = options({ app: "shop", cwd: dir });
  await assert.rejects(findTarget(operator, elsewhere), { code: "COMMIT_NOT_FOUND" });
  await assert.rejects(planDeploy(operator, elsewhere), { code: "COMMIT_NOT_FOUND" });
});

test("a build runs in a clean checkout and its output is released; a failing test publishes nothing (long)", async (t) => {
  const { operator, options, dir, events, signal } = await cluster(t);
  const repo = path.join(dir, "shop");
  mkdirSync(repo);
  git(repo, "init", "-q", "-b", "main");
  const manifest = (more: string): void =>
    writeFileSync(
      path.join(repo, "skein.yaml"),
      `kind: files\nbuild: { run: "ls -A; cat kept; echo made > out", files: [out]${more} }\n`,
    );
  manifest("");
  writeFileSync(path.join(repo, ".gitignore"), "node_modules\n");
  writeFileSync(path.join(repo, "kept"), "as committed\n");
  git(repo, "add", "-A");
  git(repo, "commit", "-qm", "one");
  // What only lies here says nothing of what another machine would build.
  writeFileSync(path.join(repo, "kept"), "changed\n");
  writeFileSync(path.join(repo, "untracked"), "");
  mkdirSync(path.join(repo, "node_modules"));
  const { origin } = await originOf(repo, signal);
  const { made } = await buildRelease(operator, origin, options({}));
  assert.equal(made.release.files, 2, "what was built, and the manifest");
  const printed = events.flatMap((event) => (event.type === "output" ? [event.line] : []));
  assert.deepEqual(printed, [".gitignore", "kept", "skein.yaml", "as committed"]);
  const here = [".git", ".gitignore", "kept", "node_modules", "skein.yaml", "untracked"];
  assert.deepEqual(readdirSync(repo).toSorted(), here, "the build left nothing");
  assert.equal((await buildRelease(operator, origin, options({}))).made.already, true);
  manifest(', test: "echo broken; exit 3"');
  git(repo, "commit", "-qam", "two");
  const next = await originOf(repo, signal);
  await assert.rejects(buildRelease(operator, next.origin, options({})), (err) => {
    assert.ok(err instanceof SkeinError && err.code === "BUILD_FAILED", String(err));
    assert.deepEqual(err.data["lines"], ["broken"]);
    return true;
  });
  assert.equal((await operator.client.releases({ app: "shop" }, signal)).length, 1);
});

test("what is chosen for a release says what it is, and always holds the manifest (long)", async (t) => {
  const { operator, options, dir, signal } = await cluster(t);
  const repo = path.join(dir, "shop");
  mkdirSync(repo);
  git(repo, "init", "-q", "-b", "main");
  const runs = async (manifest: string): Promise<{ readonly run: unknown; readonly files: number }> => {
    writeFileSync(path.join(repo, "skein.yaml"), `app: shop\n${manifest}\n`);
    git(repo, "add", "-A");
    git(repo, "commit", "-qm", "next");
    const { origin } = await originOf(repo, signal);
    const { manifest: said, made } = await buildRelease(operator, origin, options({}));
    return { run: said.processes["web"]?.run, files: made.release.files };
  };
  writeFileSync(path.join(repo, "package.json"), '{"scripts": {"start": "node a.js"}}');
  writeFileSync(path.join(repo, "a.js"), "");
  const own = { argv: ["./a"] };
  const npm = { argv: ["npm", "start"] };
  const node = { argv: ["node", "server.js"] };
  assert.deepEqual(await runs("run: ./a\nbuild: { files: [a.js] }"), { run: own, files: 2 });
  assert.deepEqual(await runs('run: ./a\nbuild: { files: ["!*.yaml"] }'), { run: own, files: 3 });
  assert.deepEqual(await runs("build: { files: [package.json] }"), { run: npm, files: 2 });
  assert.deepEqual(await runs("build: { files: [a.js] }"), { run: undefined, files: 2 });
  assert.deepEqual(await runs("build: rm package.json; mv a.js server.js"), { run: node, files: 2 });
  const made = "build: { run: rm package.json; mv a.js server.js, files: [server.js] }";
  assert.deepEqual(await runs(made), { run: node, files: 2 });
});

test("one commit that builds to two trees is refused with the earlier release", async (t) => {
  const { operator, options, dir, signal } = await cluster(t);
  const repo = path.join(dir, "shop");
  mkdirSync(repo);
  git(repo, "init", "-q", "-b", "main");
  writeFileSync(path.join(repo, "skein.yaml"), 'kind: files\nbuild: "date +%N > stamp"\n');
  git(repo, "add", "-A");
  git(repo, "commit", "-qm", "one");
  const { origin } = await originOf(repo, signal);
  const { made } = await buildRelease(operator, origin, options({}));
  const earlier = made.id.slice(0, 8);
  await assert.rejects(buildRelease(operator, origin, options({})), (err) => {
    assert.ok(err instanceof SkeinError && err.code === "BUILD_DIFFERS", String(err));
    assert.match(err.message, new RegExp(`was built to another tree before: shop@${earlier}$`));
    assert.match(err.hint ?? "", new RegExp(`skein deploy shop ${earlier};`));
    assert.equal(err.data["earlier"], made.id);
    assert.notEqual(err.data["release"], made.id);
    return true;
  });
  assert.equal((await operator.client.releases({ app: "shop" }, signal)).length, 1);
});

test("a hub that takes no blobs with a release is given them before", async (t) => {
  const { operator, options, dir } = await cluster(t);
  const { client } = operator;
  const post = client.postRelease.bind(client);
  const posts: number[] = [];
  t.mock.method(client, "postRelease", async (...args: Parameters<typeof post>) => {
    const [release, within, blobs] = args;
    posts.push(blobs?.length ?? 0);
    if (blobs !== undefined) throw new SkeinError("BAD_REQUEST", "the body: unrecognized key");
    return await post(release, within);
  });
  writeFileSync(path.join(dir, "one"), "1");
  const wish = options({ from: path.join(dir, "one") });
  const { app, release } = await findTarget(operator, wish);
  assert.deepEqual(posts, [4, 0]);
  // Its manifest is read from its tree.
  assert.equal((await findTarget(operator, options({ app, version: release }))).release, release);
});

test("a node's documents are asked for once, and again when the hub shows the node otherwise", async (t) => {
  const { operator, absent, dir, paths, signal } = await cluster(t);
  await absent("n1", { role: "web" });
  await absent("n2");
  const asked = t.mock.method(operator.client, "nodeDocuments");
  const labels = async (): Promise<unknown> =>
    (await knownNodes(operator, signal)).map(({ identity }) => [identity.name, { ...identity.labels }]);
  const before = [
    ["n1", { role: "web" }],
    ["n2", {}],
  ];
  assert.deepEqual(await labels(), before);
  assert.deepEqual(await labels(), before);
  assert.equal(asked.mock.callCount(), 2);
  await labelNode(operator, "n1", { role: "db" }, signal);
  const relabelled = (role: string): unknown => [
    ["n1", { role }],
    ["n2", {}],
  ];
  assert.deepEqual(await labels(), relabelled("db"));
  assert.equal(asked.mock.callCount(), 2, "what was signed here is known here");
  const elsewhere = { ...operator, paths: pathsFrom({ SKEIN_HOME: path.join(dir, "elsewhere") }) };
  await labelNode(elsewhere, "n1", { role: "mail" }, signal);
  asked.mock.resetCalls();
  assert.deepEqual(await labels(), relabelled("mail"));
  assert.equal(asked.mock.callCount(), 1);
  const folder = path.join(paths.etc, "operator/cache/nodes");
  const [one = "", other = ""] = readdirSync(folder);
  copyFileSync(path.join(folder, one), path.join(folder, other));
  writeFileSync(path.join(folder, one), "{");
  assert.equal((await knownNodes(operator, signal)).length, 2);
  assert.equal(asked.mock.callCount(), 3);
});

test("two operators who label one node at once both have their word", async (t) => {
  const { operator, absent, dir, signal } = await cluster(t);
  await absent("n1");
  const elsewhere = { ...operator, paths: pathsFrom({ SKEIN_HOME: path.join(dir, "elsewhere") }) };
  await Promise.all([
    labelNode(operator, "n1", { role: "db" }, signal),
    labelNode(elsewhere, "n1", { zone: "a" }, signal),
  ]);
  const [node] = await knownNodes(operator, signal);
  assert.deepEqual({ ...node?.identity.labels }, { role: "db", zone: "a" });
});

test("what was signed is sent again after a cut with the same bytes, and gives way to another order", async (t) => {
  const { operator, absent, options, dir, paths, events, signal } = await cluster(t);
  await absent("n1");
  writeFileSync(path.join(dir, "one"), "1");
  const { draft, order } = await deploy(operator, options({ from: path.join(dir, "one") }));
  const { app } = draft.order;
  const line = await readLine(operator, app, "default", signal);
  const held = line.view?.head;
  assert.ok(held !== null && held !== undefined);
  const sent = {
    app,
    env: "default",
    order: held.order,
    roster: draft.roster,
    settle: held.settle,
    goesBack: false,
    part: false,
  };
  const kept = path.join(paths.etc, "operator", "sent", `${app}.default.json`);
  // What a command that was killed while it wrote one has left.
  const left = `${kept}.0123456789ab.tmp`;
  writeFileSync(left, "half");
  utimesSync(left, new Date(0), new Date(0));
  assert.equal(await send(operator, sent, signal), order);
  assert.equal(existsSync(left), false);
  events.length = 0;
  await deliverEarlier(operator, app, options({}));
  assert.deepEqual(events, []);
  writeFileSync(kept, JSON.stringify(sent));
  await deliverEarlier({ ...operator, dryRun: new DryRun() }, app, options({}));
  assert.deepEqual(
    events.map(({ type }) => type),
    ["warning"],
  );
  assert.equal(readdirSync(path.dirname(kept)).length, 1, "a dry run sends nothing");
  await deliverEarlier(operator, app, options({}));
  assert.ok(JSON.stringify(events.at(-1)).includes(order.slice(0, 12)));
  assert.deepEqual(readdirSync(path.dirname(kept)), []);
  // What says nothing of the order leaves it for the next command.
  const clock = { ...systemClock, sleep: async () => undefined };
  writeFileSync(kept, JSON.stringify(sent));
  for (const code of ["HUB_UNREACHABLE", "HUB_CATCHING_UP", "TOO_MANY"] as const) {
    const postOrder = async (): Promise<never> => await Promise.reject(new SkeinError(code, "not now"));
    const busy = { ...operator, clock, client: { postOrder } as unknown as typeof operator.client };
    await assert.rejects(deliverEarlier(busy, app, options({})), { code });
  }
  // A restored hub may learn of newer orders while it refuses this one.
  const answers = (["HUB_CATCHING_UP", "HEAD_MOVED"] as const).map((code) => new SkeinError(code, "not now"));
  const restored = async (): Promise<never> =>
    await Promise.reject(answers.shift() ?? new Error("asked again"));
  await assert.rejects(
    send(
      { ...operator, clock, client: { postOrder: restored } as unknown as typeof operator.client },
      sent,
      signal,
    ),
    { code: "HEAD_MOVED", message: /restored from a backup/, hint: /type the same again/ },
  );
  const gone = AbortSignal.abort();
  await assert.rejects(deliverEarlier(operator, app, options({ signal: gone })));
  assert.equal(readdirSync(path.dirname(kept)).length, 1);
  await deliverEarlier(operator, app, options({}));
  assert.deepEqual(readdirSync(path.dirname(kept)), []);
  // It is written down while its release is still on its way, and not sent where that does not arrive.
  const arrival = Promise.withResolvers<void>();
  arrival.promise.catch(() => undefined);
  const sending = send(operator, sent, signal, arrival.promise);
  while (readdirSync(path.dirname(kept)).length === 0) await new Promise(setImmediate);
  arrival.reject(new SkeinError("DISK_FULL", "the hub's disk is full"));
  await assert.rejects(sending, { code: "DISK_FULL" });
  assert.deepEqual(readdirSync(path.dirname(kept)), []);
  // Another command of this machine may find it there, and send it or take it away.
  const taken = Promise.withResolvers<void>();
  const late = send(operator, sent, signal, taken.promise);
  while (!readdirSync(path.dirname(kept)).some((name) => name.endsWith(".json")))
    await new Promise(setImmediate);
  writeFileSync(kept, JSON.stringify({ ...sent, goesBack: true }));
  await deliverEarlier(operator, app, options({}));
  assert.deepEqual(readdirSync(path.dirname(kept)), []);
  rmSync(path.join(paths.etc, "operator", "arrived"), { recursive: true });
  taken.resolve();
  assert.equal(await late, order);
  assert.deepEqual(readdirSync(path.join(paths.etc, "operator", "arrived")), [`${app}.default.json`]);
  assert.equal(openOrder(operator.charter, held.order, systemClock.now()).digest, order);
});

test("the hub's state is backed up while it runs", async (t) => {
  const { paths, dir } = await cluster(t);
  await backupHub(paths, path.join(dir, "backup.db"));
  assert.ok(statSync(path.join(dir, "backup.db")).size > 0);
});

const id = (letter: string): ReleaseId => letter.repeat(32) as ReleaseId;

test("the port table by commit has the seed's shape", () => {
  const entry = (commit: string | null, process: string, port: number | null): PortEntry => ({
    app: "webapp",
    env: "default",
    release: id("a"),
    commit,
    process,
    instance: `${process}.1`,
    socket: "http",
    protocol: "http",
    host: "127.0.0.1",
    port,
    pid: 1,
    state: "serving",
    since: "",
    node: "n" as KeyId,
    nodeName: "n1",
    stale: false,
  });
  const table = portsByCommit([
    entry("c1", "http", 15_194),
    entry("c1", "say", 13_308),
    entry(null, "x", 1),
    entry("c2", "y", null),
    entry("c2", "of a unix socket", 0),
    entry("c3", "constructor", 2),
  ]);
  const { c3, ...others } = table;
  assert.deepEqual(c3?.["constructor"], [{ host: "127.0.0.1", port: 2 }]);
  assert.deepEqual(others, {
    c1: { http: [{ host: "127.0.0.1", port: 15_194 }], say: [{ host: "127.0.0.1", port: 13_308 }] },
    [id("a")]: { x: [{ host: "127.0.0.1", port: 1 }] },
  });
});

test("the status of very many apps is not asked for all at once", async (t) => {
  const { operator, absent, options, dir, signal } = await cluster(t);
  await absent("n1");
  mkdirSync(path.join(dir, "app"));
  writeFileSync(path.join(dir, "app", "readme.txt"), "hello");
  await deploy(operator, options({ from: path.join(dir, "app") }));
  const [one = assert.fail()] = (await operator.client.apps(signal)).apps;
  let [now, most] = [0, 0];
  const instead: Readonly<Record<string, unknown>> = {
    apps: async () => await Promise.resolve({ apps: Array.from({ length: 60 }, () => one) }),
    app: async (...words: Parameters<typeof operator.client.app>) => {
      most = Math.max(most, (now += 1));
      return await operator.client.app(...words).finally(() => (now -= 1));
    },
  };
  const client = new Proxy(operator.client, {
    get(target, key) {
      const value: unknown = instead[String(key)] ?? Reflect.get(target, key, target);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
  assert.equal((await statusOf({ ...operator, client }, null, null, signal)).length, 60);
  assert.ok(most > 1 && most <= 16, `${most} at once`);
});

test("a hub that serves another cluster is not taken for one's own", async (t) => {
  const { operator, signal } = await cluster(t);
  await refuseTaken(operator.client, operator.config.cluster, signal);
  await assert.rejects(refuseTaken(operator.client, null, signal), { code: "WRONG_CLUSTER" });
  const [charter] = await operator.client.charters(0, signal);
  assert.ok(charter !== undefined);
  await offerCharter(operator.client, charter, signal);
});

test("a hub elsewhere is told with its key", () => {
  const spki = "a".repeat(64);
  assert.deepEqual(parseHub(`hub1:7400#${spki}`), { address: "hub1:7400", spki });
  for (const text of ["hub1:7400", `hub1#${spki}`, `hub1:7400#abc`]) assert.equal(parseHub(text), undefined);
});
