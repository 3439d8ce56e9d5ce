import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { directoryDepot } from "../depot/directory/directory.ts";
import { listInstalls, readRecord, spareDir, stagingDir } from "./record/install-record.ts";
import type { Installed } from "./install/install.ts";
import { makeSpare } from "./install/spare.ts";
import { publish, type Published } from "./publish/publish.ts";
import {
  kept,
  makeWorld,
  noise,
  plainSource,
  readTree,
  releaseId,
  writeTree,
  type Tree,
  type World,
} from "./release.fixture.ts";
import { verifyInstall } from "./install/verify-install.ts";
import { childProgram } from "../lib/testing/child.fixture.ts";

const OLD: Tree = {
  "a/one.txt": "one",
  "a/link": "l:one.txt",
  "big.bin": noise(2_500_000),
  "same.bin": noise(400_000, 5),
  empty: "",
};
const changed = noise(2_500_000);
changed.fill(9, 900_000, 1_000_000);
const NEW: Tree = { ...OLD, "a/two.sh": "x:two", "big.bin": changed, "new.bin": noise(1_500_000, 3) };

const SCRIPT = childProgram(import.meta.dirname, "release-run.child.ts");

function run(fault: string, ...args: string[]) {
  const env = { ...process.env, SKEIN_FAULT: fault };
  return spawnSync(process.execPath, [SCRIPT, ...args], { env, encoding: "utf8" });
}

interface PublishedOnce {
  readonly published: readonly Published[];
  readonly putDown: (depot: string) => void;
}

const publishing = new Map<string, Promise<PublishedOnce>>();

/** A world in whose depot these trees are, each published after the one before: once for all, since it takes longer than what is killed. */
async function worldWith(
  t: TestContext,
  name: string,
  ...trees: readonly Tree[]
): Promise<{ readonly world: World; readonly published: readonly Published[] }> {
  const first = publishing.get(name) ?? publishAll(t, trees);
  publishing.set(name, first);
  const { published, putDown } = await first;
  const world = makeWorld(t);
  putDown(path.join(world.dir, "depot"));
  return { world, published };
}

async function publishAll(t: TestContext, trees: readonly Tree[]): Promise<PublishedOnce> {
  const world = makeWorld(t);
  const published: Published[] = [];
  for (const tree of trees) published.push(await world.publish(tree, { previous: published.at(-1) ?? null }));
  return { published, putDown: kept(path.join(world.dir, "depot")) };
}

/** The same place once more: the first time stands for it where not all tests run. */
const later = (point: string): string => (point.includes(":") ? " (long)" : "");

const PUBLISH_POINTS = [
  "publish.pack",
  "depot.received",
  "depot.checked",
  "depot.renamed",
  "publish.packed",
  "publish.rows",
  "depot.received:2",
  "depot.renamed:2",
  "depot.renamed:3",
  "publish.index",
  "publish.indexed",
];

for (const point of PUBLISH_POINTS) {
  test(`a publish killed at ${point} is published whole by the next one${later(point)}`, async (t) => {
    const world = makeWorld(t);
    const source = writeTree(path.join(world.dir, "tree"), NEW);
    const depot = path.join(world.dir, "depot");
    const cache = path.join(world.dir, "cache");
    assert.equal(run(point, "publish", depot, source, cache).signal, "SIGKILL");
    const published = await publish({
      source: plainSource(source),
      depot: directoryDepot(depot),
      previous: null,
      now: 1_700_000_000_000,
      cacheDir: cache,
      signal: t.signal,
    });
    const [expected = assert.fail()] = (await worldWith(t, "new", NEW)).published;
    assert.deepEqual(
      [published.tree, published.rows, published.since],
      [expected.tree, expected.rows, expected.since],
    );
    if (point === "publish.rows") assert.equal(published.storedBytes, 0, "the pack that was there is used");
    const installed = await world.install(1, published);
    assert.deepEqual(fs.readFileSync(path.join(installed.dir, "big.bin")), changed);
    assert.deepEqual(await verifyInstall(world.revs, releaseId(1), published.tree, t.signal), []);
  });
}

const INSTALL_POINTS = [
  "install.planned",
  "install.placed",
  "install.placed:3",
  "install.placed:9",
  "install.placed:30",
  "install.local",
  "install.fetched",
  "install.filled",
  "install.flushed",
  "install.recorded",
  "install.renamed",
];

for (const point of INSTALL_POINTS) {
  test(`an install killed at ${point} leaves the old release whole, and the next one finishes${later(point)}`, async (t) => {
    const { world, published } = await worldWith(t, "update", OLD, NEW);
    const [first = assert.fail(), second = assert.fail()] = published;
    const old = await world.install(1, first);
    const before = readTree(old.dir);
    const args = ["install", path.join(world.dir, "depot"), world.revs, "2", JSON.stringify(second)];
    assert.equal(run(point, ...args).signal, "SIGKILL");

    const appeared = point === "install.renamed";
    assert.equal(fs.existsSync(path.join(world.revs, releaseId(2))), appeared, "a release appears whole");
    assert.equal((await listInstalls(world.revs)).length, appeared ? 2 : 1);
    assert.deepEqual(readTree(old.dir), before);

    const installed = await world.install(2, second);
    assert.equal(installed.already, appeared);
    const found = readTree(path.join(world.revs, releaseId(2)));
    assert.deepEqual(found, { ...NEW, a: null });
    assert.deepEqual(await verifyInstall(world.revs, releaseId(2), second.tree, t.signal), []);
    assert.deepEqual(await verifyInstall(world.revs, releaseId(1), first.tree, t.signal), []);
    assert.equal(fs.existsSync(stagingDir(world.revs, releaseId(2))), false);
    assert.ok((await readRecord(world.revs, releaseId(2)))?.inodes.every((inode) => inode > 0));
    // The tables, and the first 16 KiB of a pack, which hold its head: no content is fetched twice.
    if (point === "install.fetched")
      assert.ok(installed.bytesFetched < 18_000, `${installed.bytesFetched} fetched anew`);
  });
}

/** OLD was installed; then it was made a spare of, killed at the first point; then NEW was installed, killed at the second. */
const SPARE_POINTS = [
  ["spare.placing", ""],
  ["spare.placing:3", ""],
  ["spare.filled", ""],
  ["spare.flushed", ""],
  ["spare.made", ""],
  ["", "install.planned"],
  ["", "install.spare-taken"],
  ["", "install.spare-cleared"],
  ["", "install.placed"],
  ["", "install.local"],
  ["", "install.filled"],
  ["", "install.flushed"],
  ["", "install.recorded"],
  ["", "install.renamed"],
] as const;
/** An install passes the others without a spare, too. */
const OF_SPARES = /^spare\.[a-z]+$|^install\.spare/;

const GONE: Tree = { "old/gone.txt": "gone", "z.txt": "gone too", "a/two.sh": "two" };

for (const [making, taking] of SPARE_POINTS) {
  test(`a spare is whole or of no use, killed at ${making || taking}${OF_SPARES.test(making || taking) ? "" : " (long)"}`, async (t) => {
    const { world, published } = await worldWith(t, "spare", { ...OLD, ...GONE }, NEW);
    const [first = assert.fail(), second = assert.fail()] = published;
    await world.install(1, first);
    const spare = async (n: number): Promise<unknown> =>
      await makeSpare({ revs: world.revs, release: releaseId(n), leastFiles: 0, signal: t.signal });
    const words = ["spare", path.join(world.dir, "depot"), world.revs];
    if (making === "") await spare(1);
    else assert.equal(run(making, ...words, "1").signal, "SIGKILL");
    const isMade = making === "" || making === "spare.made";
    assert.equal(fs.existsSync(spareDir(world.revs, releaseId(1))), isMade);
    // Where it goes on at once, and where an order comes first.
    if (making.startsWith("spare.placing")) await spare(1);

    const args = ["install", path.join(world.dir, "depot"), world.revs, "2", JSON.stringify(second)];
    if (taking !== "") assert.equal(run(taking, ...args).signal, "SIGKILL");
    await world.install(2, second);
    assert.deepEqual(readTree(path.join(world.revs, releaseId(2))), { ...NEW, a: null });
    assert.deepEqual(await verifyInstall(world.revs, releaseId(2), second.tree, t.signal), []);
    assert.deepEqual(await verifyInstall(world.revs, releaseId(1), first.tree, t.signal), []);
    await spare(2);
    const left = fs.readdirSync(path.join(world.revs, ".install")).sort();
    assert.deepEqual(left, [`${releaseId(1)}.record`, `${releaseId(2)}.record`, `${releaseId(2)}.spare`]);
  });
}

for (const point of ["install.spare-taken", "install.spare-cleared"]) {
  test(`an earlier release stays as it is where its spare's files need another time, killed at ${point}`, async (t) => {
    const world = makeWorld(t);
    const first = await world.publish(OLD);
    const between = await world.publish({ ...OLD, "same.bin": "other" }, { previous: first });
    const last = await world.publish(OLD, { previous: between, now: 1_800_000_000_000 });
    const { dir } = await world.install(1, first);
    const timeOf = (): number => fs.lstatSync(path.join(dir, "same.bin")).mtimeMs;
    const before = timeOf();
    const depot = path.join(world.dir, "depot");
    await makeSpare({ revs: world.revs, release: releaseId(1), leastFiles: 0, signal: t.signal });
    const args = ["install", depot, world.revs, "2", JSON.stringify(last)];
    assert.equal(run(point, ...args).signal, "SIGKILL");
    await world.install(2, last);
    assert.equal(timeOf(), before);
    assert.notEqual(fs.lstatSync(path.join(world.revs, releaseId(2), "same.bin")).mtimeMs, before);
  });
}

test("a file that cannot be written down whole fails the install with what the system said, not with what a second try finds (long)", async (t) => {
  const world = makeWorld(t);
  const published = await world.publish({ small: noise(9000, 1), whole: noise(15_000, 2) });
  const args = ["install", path.join(world.dir, "depot"), world.revs, "1", JSON.stringify(published)];
  // Beyond this size the kernel takes the beginning of a write and refuses the rest, as a full disk does.
  const limited = ["--fsize=12000", process.execPath, SCRIPT, ...args];
  const env = { ...process.env, NODE_COMPILE_CACHE: undefined };
  const tried = spawnSync("prlimit", limited, { encoding: "utf8", env });
  assert.equal(tried.status, 0, tried.stderr);
  const { error } = JSON.parse(tried.stdout) as { error: { code: string; data: { errno: string } } };
  assert.deepEqual([error.code, error.data.errno], ["IO", "EFBIG"]);
  const again = run("", ...args);
  assert.equal((JSON.parse(again.stdout) as Installed).already, false, again.stdout);
  assert.deepEqual(await verifyInstall(world.revs, releaseId(1), published.tree, t.signal), []);
});

test("a record that was not written to the end is in nobody's way, and does not stay (long)", async (t) => {
  const world = makeWorld(t);
  const installs = path.join(world.revs, ".install");
  const args = [
    "install",
    path.join(world.dir, "depot"),
    world.revs,
    "1",
    JSON.stringify(await world.publish(OLD)),
  ];
  fs.mkdirSync(installs, { recursive: true });
  fs.writeFileSync(path.join(installs, `${releaseId(1)}.record.new`), "half of");
  assert.equal(run("", ...args).status, 0);
  assert.deepEqual(fs.readdirSync(installs), [`${releaseId(1)}.record`]);
});
