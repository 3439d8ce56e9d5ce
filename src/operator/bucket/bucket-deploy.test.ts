import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { writeTree } from "../../release/release.fixture.ts";
import { pax, tar } from "../../source/source.fixture.ts";
import { nothingHere } from "../deploy/resolve-wish.ts";
import type { OperatorEvent } from "../tell/events.ts";
import { lineOf } from "./bucket-order.ts";
import { masterRevisions } from "./master.ts";
import { buildToBucket, deployToBucket, reorderInBucket, type BucketDeployOptions } from "./bucket-deploy.ts";
import { bucketWorld, type BucketWorld } from "./bucket-world.fixture.ts";
import { PATIENCE_MS } from "../../lib/testing/patience.fixture.ts";

function wish(world: BucketWorld, change: Partial<BucketDeployOptions>): BucketDeployOptions {
  return {
    app: null,
    version: null,
    selector: null,
    from: null,
    env: "default",
    cwd: world.dir,
    keepOld: false,
    hooks: "run",
    strategy: { spreadMs: 0 },
    tell: () => undefined,
    signal: AbortSignal.timeout(PATIENCE_MS),
    ...change,
  };
}

const git = async (cwd: string, ...words: string[]): Promise<string> => {
  const id = ["-c", "user.name=t", "-c", "user.email=t@t"];
  return (await promisify(execFile)("git", [...id, ...words], { cwd })).stdout.trim();
};

test("deploy goes through a bucket: what is here, a folder, an earlier revision, a commit (long)", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["site"]);
  const repo = writeTree(path.join(world.dir, "repo"), {
    "skein.yaml": "app: site\nkind: files\nbuild: echo built > made\n",
    version: "one",
  });
  await git(repo, "init", "-q");
  await git(repo, "add", ".");
  await git(repo, "commit", "-qm", "one");
  const first = await git(repo, "rev-parse", "HEAD");
  const operator = await world.operator();
  const one = await deployToBucket(operator, wish(world, { cwd: repo }));
  await machine.sync();
  const page = (): string => readFileSync(path.join(machine.root, "site/current/version"), "utf8");
  assert.equal(page(), "one");
  assert.equal(readFileSync(path.join(machine.root, "site/current/made"), "utf8"), "built\n");
  writeTree(repo, { version: "two" });
  await git(repo, "commit", "-qam", "two");
  const two = await deployToBucket(operator, wish(world, { cwd: repo, app: "site" }));
  await machine.sync();
  assert.equal(page(), "two");
  const again = await deployToBucket(operator, wish(world, { app: "site", version: one.revision }));
  assert.deepEqual([again.release, again.seq], [one.release, 3]);
  await machine.sync();
  assert.equal(page(), "one");
  assert.equal(await world.jumpBack("site"), 4);
  await machine.sync();
  assert.equal(page(), "two");
  const known = await deployToBucket(operator, wish(world, { app: "site", version: first, cwd: repo }));
  assert.equal(known.release, one.release, "a commit that was released is not built to another one");
  assert.notEqual(two.release, one.release);
});

test("a build for a bucket is released and ordered nowhere, and says what it left out", async (t) => {
  const world = await bucketWorld(t);
  const operator = await world.operator();
  const from = path.join(world.dir, "site.tar");
  const attributes = { name: "x", type: "x", content: pax(["SCHILY.xattr.user.note", "hi"]) } as const;
  writeFileSync(from, tar(attributes, { name: "version", content: "one" }));
  const told: OperatorEvent[] = [];
  const options = wish(world, { from, tell: (event) => told.push(event) });
  const { place, already } = await buildToBucket(operator, options);
  assert.equal(already, false);
  assert.match(told.find((event) => event.type === "note")?.text ?? "", /extended attributes/);
  assert.equal((await lineOf(operator, { app: "site", env: "default" }, t.signal)).head, null);
  const again = await deployToBucket(operator, options);
  assert.deepEqual([again.release, again.seq], [place.id, 1]);
});

test("a commit through a bucket is released from the app's folder of it", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["site"]);
  const repo = writeTree(path.join(world.dir, "mono"), {
    "apps/site/skein.yaml": "kind: files\n",
    "apps/site/version": "one",
    other: "",
  });
  await git(repo, "init", "-q");
  await git(repo, "add", ".");
  await git(repo, "commit", "-qm", "one");
  const operator = await world.operator();
  const asked = { app: "site", version: "HEAD" };
  await assert.rejects(deployToBucket(operator, wish(world, { ...asked, cwd: repo })), {
    code: "SOURCE_NOT_FOUND",
    hint: "Run it there, in a checkout: cd apps/site",
  });
  await deployToBucket(operator, wish(world, { ...asked, cwd: path.join(repo, "apps/site") }));
  await machine.sync();
  assert.equal(readFileSync(path.join(machine.root, "site/current/version"), "utf8"), "one");
});

test("stop and start through a bucket keep the release, and what is nowhere is said", async (t) => {
  const world = await bucketWorld(t);
  const operator = await world.operator();
  const from = writeTree(path.join(world.dir, "site"), { version: "one" });
  const { seq } = await deployToBucket(operator, wish(world, { from }));
  const at = { app: "site", env: "default", selector: null, signal: t.signal };
  assert.equal(await reorderInBucket(operator, "stop", at), seq + 1);
  assert.equal(await reorderInBucket(operator, "start", at), seq + 2);
  assert.equal(await reorderInBucket(operator, "restart", at), seq + 3);
  await assert.rejects(reorderInBucket(operator, "stop", { ...at, app: "other" }), { code: "APP_NOT_FOUND" });
  await assert.rejects(reorderInBucket(operator, "stop", { ...at, selector: "(a" }), {
    code: "SELECTOR_BAD",
  });
  const nowhere = wish(world, { app: "site", version: "v9" });
  await assert.rejects(deployToBucket(operator, nowhere), { code: "RELEASE_NOT_FOUND" });
  await assert.rejects(deployToBucket(operator, wish(world, {})), {
    code: "SOURCE_NOT_FOUND",
    hint: nothingHere(world.dir).hint,
  });
});

test("stop through a bucket ends one version, and all of them where that is said", async (t) => {
  const world = await bucketWorld(t);
  const operator = await world.operator();
  const from = path.join(world.dir, "site");
  const ids: string[] = [];
  for (const version of ["one", "two", "three"]) {
    writeTree(from, { version });
    ids.unshift((await deployToBucket(operator, wish(world, { from, keepOld: true }))).release);
  }
  const [three, two, one = ""] = ids;
  const at = { app: "site", env: "default", selector: null, signal: t.signal };
  const runs = async (): Promise<unknown> => {
    const order = (await lineOf(operator, at, t.signal)).head?.order;
    return [order?.state, order?.release, order?.beside];
  };
  assert.deepEqual(await runs(), ["run", three, [two, one]]);
  await assert.rejects(reorderInBucket(operator, "stop", { ...at, version: "0000" }), { code: "NOT_FOUND" });
  await reorderInBucket(operator, "stop", { ...at, version: one.slice(0, 8) });
  assert.deepEqual(await runs(), ["run", three, [two]]);
  await reorderInBucket(operator, "stop", at);
  assert.deepEqual(await runs(), ["run", two, []]);
  await reorderInBucket(operator, "stop", at);
  assert.deepEqual(await runs(), ["stopped", two, []]);
  await deployToBucket(operator, wish(world, { from, keepOld: true }));
  await reorderInBucket(operator, "stop", { ...at, all: true });
  assert.deepEqual(await runs(), ["stopped", three, []]);
});

test("old versions are not kept beside one that may not run twice, through a bucket, too", async (t) => {
  const world = await bucketWorld(t);
  const operator = await world.operator();
  const manifest = "app: site\nrun: node a.js\nlisten: { http: { port: 80, handover: gap } }\n";
  const from = writeTree(path.join(world.dir, "site"), { "skein.yaml": manifest });
  const keeping = deployToBucket(operator, wish(world, { from, keepOld: true }));
  await assert.rejects(keeping, { code: "HANDOVER_REFUSED", message: /\(handover: gap\), and --keep-old/ });
  const already: boolean[] = [];
  const tell: BucketDeployOptions["tell"] = (event) => {
    if (event.type === "release") already.push(event.already);
  };
  assert.equal((await deployToBucket(operator, wish(world, { from, tell }))).seq, 1);
  assert.deepEqual(already, [false]);
});

test("what is said to some machines through a bucket is about these, and the next word about all again", async (t) => {
  const world = await bucketWorld(t);
  const operator = await world.operator();
  const from = writeTree(path.join(world.dir, "site"), { version: "one" });
  const one = await deployToBucket(operator, wish(world, { from }));
  const at = { app: "site", env: "default", selector: null, signal: t.signal };
  const some = { ...at, selector: "role=db" };
  const head = async () => (await lineOf(operator, at, t.signal)).head?.order;
  const active = async () => {
    const found = await masterRevisions("site", { ...operator, env: "default", signal: t.signal });
    return found.filter(({ state }) => state === "active").map(({ revision }) => revision);
  };
  await reorderInBucket(operator, "stop", some);
  assert.deepEqual([(await head())?.selector, (await head())?.state], ["role=db", "stopped"]);
  assert.deepEqual(await active(), [one.revision], "the others run it");
  await assert.rejects(world.purge(`site.${one.revision}`), {
    code: "REVISION_ACTIVE",
    message: /is active/,
  });
  await reorderInBucket(operator, "restart", some);
  await reorderInBucket(operator, "start", at);
  assert.deepEqual([(await head())?.selector, (await head())?.state], ["all", "run"]);
  await reorderInBucket(operator, "stop", some);
  writeTree(from, { version: "two" });
  const two = await deployToBucket(operator, wish(world, { from }));
  assert.deepEqual([two.selector, (await head())?.fallback], ["all", one.release]);
  await reorderInBucket(operator, "stop", some);
  await world.jump(`site.${one.revision}`, { selector: null });
  assert.equal((await head())?.selector, "all");
  // Another release is for those alone that were given it, until somebody says otherwise.
  await world.jump(`site.${two.revision}`, { selector: "role=db" });
  await reorderInBucket(operator, "restart", at);
  assert.equal((await head())?.selector, "role=db");
});
