import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { test, type TestContext } from "node:test";
import type { DepotReader } from "../../depot/seam/depot.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { directoryDepot } from "../../depot/directory/directory.ts";
import { bytesBlob } from "../fetch/blobs.ts";
import { installsDir } from "../record/install-record.ts";
import type { Installed } from "../install/install.ts";
import type { Published } from "../publish/publish.ts";
import { kept, makeWorld, noise, readTree, releaseId, type Tree, type World } from "../release.fixture.ts";
import { deltaName, indexName, type DeltaRef } from "../tree/release-index.ts";
import { indexOf } from "../fetch/tree-blobs.ts";
import { verifyInstall } from "../install/verify-install.ts";
import { encodeHere } from "./encode-batch.ts";
import { publishDeltas } from "./publish-deltas.ts";
import { childProgram } from "../../lib/testing/child.fixture.ts";

const OLD: Tree = {
  "a/one.txt": "one",
  "a/link": "l:one.txt",
  "big.bin": noise(1_200_000),
  "same.bin": noise(400_000, 5),
  "moved/from.bin": noise(90_000, 6),
  empty: "",
};
const changed = Buffer.from(noise(1_200_000));
changed.fill(9, 700_000, 700_100);
const NEW: Tree = {
  ...without(OLD, "moved/from.bin"),
  "a/two.sh": "x:two",
  "big.bin": changed,
  "moved/to.bin": OLD["moved/from.bin"] ?? "",
  "twice/a": "the same",
  "twice/b": "the same",
};

function without(tree: Tree, name: string): Tree {
  return Object.fromEntries(Object.entries(tree).filter(([at]) => at !== name));
}

async function deltas(
  t: TestContext,
  world: World,
  to: Published,
  ...from: Published[]
): Promise<readonly DeltaRef[]> {
  return await publishDeltas({
    depot: world.depot,
    from,
    to,
    encoder: encodeHere,
    scratch: world.dir,
    signal: t.signal,
  });
}

/** Counts what is asked for. */
function counted(depot: DepotReader): DepotReader & { readonly asked: string[] } {
  const asked: string[] = [];
  return {
    ...depot,
    asked,
    get: (name, signal, range) => {
      asked.push(name);
      return depot.get(name, signal, range);
    },
  };
}

let publishing: ReturnType<typeof publishedOnce> | undefined;

/** A world in which OLD is installed, and NEW is published with a delta from it. */
async function published(t: TestContext, world: World) {
  const { putDown, ...made } = await (publishing ??= publishedOnce(t));
  putDown(path.join(world.dir, "depot"));
  await world.install(1, made.first);
  return made;
}

async function publishedOnce(t: TestContext) {
  const world = makeWorld(t);
  const first = await world.publish(OLD);
  const second = await world.publish(NEW, { previous: first, now: 1_700_000_500_000 });
  const made = await deltas(t, world, second, first);
  return { first, second, made, putDown: kept(path.join(world.dir, "depot")) };
}

const whole = { ...NEW, a: null, moved: null, twice: null };

test("one request for the index and one for the delta bring a release", async (t) => {
  const world = makeWorld(t);
  const { first, second, made } = await published(t, world);
  assert.equal(made[0]?.from, first.tree);
  const depot = counted(world.depot);
  const installed = await world.install(2, second, { depots: [depot] });
  assert.deepEqual(depot.asked, [indexName(second.tree), deltaName(second.tree, first.tree)]);
  assert.deepEqual(readTree(installed.dir), whole);
  assert.equal(installed.linked, 3, "unchanged and moved files are links");
  // All but a hundred bytes of the changed file were here, too.
  const here = ["big.bin", "same.bin", "moved/from.bin", "a/one.txt"].reduce(
    (sum, name) => sum + (OLD[name]?.length ?? 0),
    0,
  );
  const { disk = 0, directory = 0 } = installed.sources;
  assert.ok(disk <= here && disk >= here - 300, `${disk} of ${here} bytes`);
  assert.equal(directory, installed.bytesFetched);
  assert.ok((made[0]?.bytes ?? 0) < 700, `${made[0]?.bytes} bytes`);
  assert.deepEqual(await verifyInstall(world.revs, releaseId(2), second.tree, t.signal), []);
  const times = fs.statSync(path.join(installed.dir, "big.bin")).mtimeMs;
  assert.equal(times, 1_700_000_500_000, "times are as signed");
  assert.deepEqual(leftovers(world), []);
});

const leftovers = (world: World): string[] =>
  fs.readdirSync(installsDir(world.revs)).filter((name) => !name.endsWith(".record"));

test("a file that was empty, and is not any more, comes with a delta too", async (t) => {
  const world = makeWorld(t);
  const first = await world.publish({ empty: "", other: "other" });
  const second = await world.publish({ empty: "not any more", other: "other" }, { previous: first });
  const [made] = await deltas(t, world, second, first);
  assert.ok((made?.bytes ?? 0) > 0, JSON.stringify(made));
  await world.install(1, first);
  const depot = counted(world.depot);
  await world.install(2, second, { depots: [depot] });
  assert.deepEqual(depot.asked, [indexName(second.tree), deltaName(second.tree, first.tree)]);
  assert.deepEqual(readTree(`${world.revs}/${releaseId(2)}`), { empty: "not any more", other: "other" });
});

test("a release whose tree is here already asks for nothing", async (t) => {
  const world = makeWorld(t);
  const first = await world.publish(OLD);
  await world.install(1, first);
  const depot = counted(world.depot);
  const installed = await world.install(2, first, { depots: [depot] });
  assert.deepEqual(depot.asked, []);
  assert.equal(installed.linked, 4);
  fs.chmodSync(path.join(installed.dir, "same.bin"), 0o644);
  fs.writeFileSync(path.join(installed.dir, "same.bin"), "changed on the disk");
  await world.install(3, first, { depots: [depot] });
  assert.deepEqual(await verifyInstall(world.revs, releaseId(3), first.tree, t.signal), []);
});

test("a delta that is dearer than packs is not kept, and the index says so", async (t) => {
  const world = makeWorld(t);
  const first = await world.publish({ a: noise(900_000, 3) });
  await world.install(1, first);
  const second = await world.publish({ a: noise(900_000, 4) }, { previous: first });
  assert.deepEqual(await deltas(t, world, second, first), [{ from: first.tree, bytes: 0 }]);
  const depot = counted(world.depot);
  await world.install(2, second, { depots: [depot] });
  assert.ok(!depot.asked.some((name) => name.startsWith("deltas/")));
});

test("of a hub nothing but the delta from the latest release is asked for", async (t) => {
  const world = makeWorld(t);
  const { first, second } = await published(t, world);
  const depot = { ...counted(world.depot), kind: "hub" as const };
  await world.install(2, second, { depots: [depot] });
  assert.deepEqual(depot.asked, [deltaName(second.tree, first.tree)]);
});

test("a hub that has no delta from the latest release may have one from an earlier", async (t) => {
  const world = makeWorld(t);
  const { first, second } = await published(t, world);
  const other = await world.publish({ quite: "another" });
  await world.install(5, other);
  const depot = { ...counted(world.depot), kind: "hub" as const };
  await world.install(2, second, { depots: [depot] });
  const asked = [
    deltaName(second.tree, other.tree),
    indexName(second.tree),
    deltaName(second.tree, first.tree),
  ];
  assert.deepEqual(depot.asked, asked);
  assert.deepEqual(await verifyInstall(world.revs, releaseId(2), second.tree, t.signal), []);
});

test("the smallest of the deltas from what is here is taken", async (t) => {
  const world = makeWorld(t);
  const first = await world.publish(OLD);
  await world.install(1, first);
  const near = await world.publish({ ...NEW, "a/one.txt": "two" }, { previous: first });
  await world.install(2, near);
  await world.install(3, first);
  const last = await world.publish(NEW, { previous: near });
  await deltas(t, world, last, first, near);
  const depot = counted(world.depot);
  await world.install(4, last, { depots: [depot] });
  assert.deepEqual(depot.asked, [indexName(last.tree), deltaName(last.tree, near.tree)]);
  assert.deepEqual(await verifyInstall(world.revs, releaseId(4), last.tree, t.signal), []);
});

test("deltas are listed once, and those of another publisher stay listed", async (t) => {
  const world = makeWorld(t);
  const { first, second } = await published(t, world);
  assert.deepEqual(await deltas(t, world, second, first), []);
  const other = await world.publish({ x: "y" });
  await deltas(t, world, second, other);
  const index = await indexOf(world.depot, second.tree, t.signal);
  assert.deepEqual(
    index?.deltas.map(({ from }) => from),
    [other.tree, first.tree],
  );
});

test("of the deltas to a tree the oldest make way for new ones", async (t) => {
  const world = makeWorld(t);
  const to = await world.publish({ a: "the newest" });
  const made: Published[] = [];
  for (let i = 0; i < 18; i++) made.push(await world.publish({ a: `older ${i}` }));
  for (const from of made) await deltas(t, world, to, from);
  const index = await indexOf(world.depot, to.tree, t.signal);
  const kept = made.slice(2).reverse();
  assert.deepEqual(
    index?.deltas.map(({ from }) => from),
    kept.map(({ tree }) => tree),
  );
  const there: string[] = [];
  for await (const name of world.depot.list("deltas/", t.signal)) there.push(name);
  assert.deepEqual(there, kept.map(({ tree }) => deltaName(to.tree, tree)).sort());
});

const DAMAGES: Record<string, (bytes: Buffer) => Buffer> = {
  truncated: (bytes) => bytes.subarray(0, bytes.length - 40),
  changed: (bytes) => Buffer.concat([bytes.subarray(0, -1), Buffer.from([(bytes.at(-1) ?? 0) ^ 1])]),
  "of no meaning": (bytes) => noise(bytes.length, 8),
};

for (const [how, damage] of Object.entries(DAMAGES)) {
  test(`a delta that is ${how} costs its bytes: packs bring the release`, async (t) => {
    const world = makeWorld(t);
    const { first, second } = await published(t, world);
    const name = deltaName(second.tree, first.tree);
    const pieces: Uint8Array[] = [];
    for await (const piece of world.depot.get(name, t.signal)) pieces.push(piece);
    await world.depot.delete(name, t.signal);
    await world.depot.put(name, bytesBlob(damage(Buffer.concat(pieces))), t.signal);
    const before = readTree(path.join(world.revs, releaseId(1)));
    const installed = await world.install(2, second);
    assert.deepEqual(readTree(installed.dir), whole);
    assert.deepEqual(await verifyInstall(world.revs, releaseId(2), second.tree, t.signal), []);
    assert.deepEqual(readTree(path.join(world.revs, releaseId(1))), before);
    assert.deepEqual(leftovers(world), []);
  });
}

test("a delta of another pair leads nowhere and does no harm", async (t) => {
  const world = makeWorld(t);
  const { first, second } = await published(t, world);
  const third = await world.publish({ ...NEW, more: "more" }, { previous: second });
  await deltas(t, world, third, first);
  const pieces: Uint8Array[] = [];
  for await (const piece of world.depot.get(deltaName(third.tree, first.tree), t.signal)) pieces.push(piece);
  const name = deltaName(second.tree, first.tree);
  await world.depot.delete(name, t.signal);
  await world.depot.put(name, bytesBlob(Buffer.concat(pieces)), t.signal);
  await world.install(2, second);
  assert.deepEqual(await verifyInstall(world.revs, releaseId(2), second.tree, t.signal), []);
});

test("an old file that was changed on the disk is none to come from", async (t) => {
  const world = makeWorld(t);
  const { second } = await published(t, world);
  const file = path.join(world.revs, releaseId(1), "big.bin");
  fs.chmodSync(file, 0o644);
  fs.writeFileSync(file, noise(1_200_000, 9));
  await world.install(2, second);
  assert.deepEqual(await verifyInstall(world.revs, releaseId(2), second.tree, t.signal), []);
});

test("files that the app may write to are not needed, unless they changed", async (t) => {
  const world = makeWorld(t);
  const writable = new Map([["cache", path.join(world.dir, "elsewhere")]]);
  const before = { ...OLD, "cache/kept": "as it was", "cache/changed": noise(9000, 2) };
  const first = await world.publish(before);
  await world.install(1, first, { writable });
  const same = await world.publish({ ...before, "a/one.txt": "two" }, { previous: first });
  await deltas(t, world, same, first);
  const depot = counted(world.depot);
  await world.install(2, same, { writable, depots: [depot] });
  assert.deepEqual(depot.asked, [indexName(same.tree), deltaName(same.tree, first.tree)]);
  const other = await world.publish({ ...before, "cache/changed": noise(9001, 2) }, { previous: same });
  await deltas(t, world, other, same);
  await world.install(3, other, { writable });
  for (const [n, { tree }] of [same, other].entries())
    assert.deepEqual(await verifyInstall(world.revs, releaseId(n + 2), tree, t.signal), []);
});

test("a delta that was cut goes on where it was", async (t) => {
  const world = makeWorld(t);
  const edited = Buffer.from(noise(1_200_000));
  for (let i = 0; i < edited.length; i += 3000) edited[i] = (edited[i] ?? 0) ^ (i % 251);
  const first = await world.publish(OLD);
  await world.install(1, first);
  const second = await world.publish({ ...NEW, "big.bin": edited }, { previous: first });
  const [made] = await deltas(t, world, second, first);
  const size = made?.bytes ?? 0;
  let bytes = 0;
  let cuts = 0;
  const cutting: DepotReader = {
    ...world.depot,
    async *get(name, signal, range) {
      const start = range?.start ?? 0;
      const isCut = name.startsWith("deltas/") && cuts++ < 3;
      const end = isCut ? start + Math.ceil(size / 5) : range?.end;
      for await (const piece of world.depot.get(
        name,
        signal,
        end === undefined ? { start } : { start, end },
      )) {
        if (name.startsWith("deltas/")) bytes += piece.length;
        yield piece;
      }
      if (isCut) throw new SkeinError("HUB_UNREACHABLE", "cut off");
    },
  };
  await world.install(2, second, { depots: [cutting] });
  assert.equal(bytes, size, "no byte comes twice");
  assert.deepEqual(await verifyInstall(world.revs, releaseId(2), second.tree, t.signal), []);
});

test("full fetches all of it and puts it down anew", async (t) => {
  const world = makeWorld(t);
  const { second } = await published(t, world);
  await world.install(2, second);
  const depot = counted(directoryDepot(path.join(world.dir, "depot")));
  const installed = await world.install(2, second, { depots: [depot], full: true });
  assert.deepEqual([installed.already, installed.linked, installed.copied], [false, 0, 0]);
  assert.ok(installed.bytesFetched > 1_200_000);
  assert.ok(!depot.asked.some((name) => name.startsWith("deltas/")));
  assert.deepEqual(await verifyInstall(world.revs, releaseId(2), second.tree, t.signal), []);
});

const SCRIPT = childProgram(import.meta.dirname, "../release-run.child.ts");

function run(fault: string, ...args: string[]) {
  const env = { ...process.env, SKEIN_FAULT: fault };
  return spawnSync(process.execPath, [SCRIPT, ...args], { env, encoding: "utf8" });
}

const POINTS = [
  "install.delta-piece",
  "install.delta-placed",
  "install.delta-applied",
  "install.placed",
  "install.flushed",
  "install.renamed",
];

for (const point of POINTS) {
  test(`an install by a delta killed at ${point} finishes the next time with what had come`, async (t) => {
    const world = makeWorld(t);
    const { second } = await published(t, world);
    const before = readTree(path.join(world.revs, releaseId(1)));
    const args = ["install", path.join(world.dir, "depot"), world.revs, "2", JSON.stringify(second)];
    assert.equal(run(point, ...args).signal, "SIGKILL");
    const appeared = point === "install.renamed";
    assert.equal(fs.existsSync(path.join(world.revs, releaseId(2))), appeared, "a release appears whole");
    assert.deepEqual(readTree(path.join(world.revs, releaseId(1))), before);

    const again = run("", ...args);
    assert.equal(again.status, 0, again.stderr);
    const installed = JSON.parse(again.stdout) as Installed;
    const index = fs.statSync(path.join(world.dir, "depot/blobs", indexName(second.tree))).size;
    assert.equal(installed.bytesFetched, appeared ? 0 : index, "only the index is read again");
    assert.deepEqual(readTree(path.join(world.revs, releaseId(2))), whole);
    assert.deepEqual(await verifyInstall(world.revs, releaseId(2), second.tree, t.signal), []);
    assert.deepEqual(leftovers(world), []);
  });
}
