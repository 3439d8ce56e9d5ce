import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { PrunableDepot } from "../../depot/seam/depot.ts";
import { directoryDepot, type DirectoryDepot } from "../../depot/directory/directory.ts";
import { s3Depot } from "../../depot/s3/s3-depot.ts";
import { freshBucket, sharedS3Server } from "../../depot/s3/s3-server.fixture.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { fakeClock } from "../../lib/time/fake-clock.fixture.ts";
import { digestOf, type TreeId } from "../../lib/text/ids.ts";
import { bytesBlob } from "../fetch/blobs.ts";
import { Fetcher } from "../fetch/fetcher.ts";
import { publish, type Published } from "../publish/publish.ts";
import { indexName } from "../tree/release-index.ts";
import { noise, plainSource, tempDir, writeTree } from "../release.fixture.ts";
import { loadTree } from "../fetch/tree-blobs.ts";
import { collect, type Collected } from "./collect.ts";
import { seesRetired } from "./retired.ts";
import { childProgram } from "../../lib/testing/child.fixture.ts";

const server = sharedS3Server({ conditional: false });
const GRACE_MS = 3_600_000;

interface World {
  readonly depot: PrunableDepot;
  readonly roots: Published[];
  publish(n: number): Promise<Published>;
  /** After the grace, or at once. */
  collect(options?: CollectWish): Promise<Collected>;
  /** Names of what the releases consist of, and of what was taken out of use. */
  names(): Promise<{ readonly used: string[]; readonly retired: string[] }>;
}

interface CollectWish {
  readonly atOnce?: boolean;
  readonly dryRun?: boolean;
  /** When the depot was listed, and the kept releases are asked for. */
  readonly meanwhile?: () => Promise<void>;
}

function makeWorld(t: TestContext, depot?: PrunableDepot): World {
  const folder = tempDir(t);
  const world = depot ?? directoryDepot(path.join(folder, "depot"));
  const roots: Published[] = [];
  const clock = fakeClock();
  return {
    depot: world,
    roots,
    async publish(n) {
      const dir = writeTree(path.join(folder, `tree-${n}`), { own: noise(20_000, n), text: `release ${n}` });
      const options = { previous: null, now: 0, cacheDir: null, signal: t.signal };
      return await publish({ source: plainSource(dir), depot: world, ...options });
    },
    async collect({ atOnce = false, dryRun = false, meanwhile } = {}) {
      if (!atOnce) clock.advance(GRACE_MS + 1);
      return await collect({
        depot: world,
        async *roots() {
          await meanwhile?.();
          yield* roots;
        },
        graceMs: GRACE_MS,
        dryRun,
        clock,
        signal: t.signal,
      });
    },
    async names() {
      const all = await Array.fromAsync(world.list("", t.signal));
      const isOurs = (name: string): boolean => /^(?:deltas|index|packs|rows|since)\//.test(name);
      return { used: all.filter(isOurs), retired: all.filter((name) => name.startsWith("retired/")) };
    },
  };
}

const counts = (collected: Collected): Record<string, number> =>
  Object.fromEntries(
    Object.entries(collected).flatMap(([key, value]) =>
      typeof value === "object" && "blobs" in value && value.blobs > 0 ? [[key, value.blobs]] : [],
    ),
  );

for (const [kind, open] of [
  ["folder", async () => await Promise.resolve(undefined)],
  ["bucket", async (t: TestContext) => s3Depot(await freshBucket(t, await server()), "")],
] as const) {
  test(`${kind}: what no release needs goes in three runs, and what one needs stays`, async (t) => {
    const world = makeWorld(t, await open(t));
    world.roots.push(await world.publish(1));
    const kept = await world.names();
    // With the same times of two files: their table is shared.
    await world.publish(2);
    assert.deepEqual(counts(await world.collect()), { kept: 4, noted: 3 });
    assert.deepEqual(counts(await world.collect({ atOnce: true })), { kept: 4, noted: 3 });
    assert.deepEqual(counts(await world.collect()), { kept: 4, retired: 3 });
    assert.deepEqual((await world.names()).used, kept.used);
    assert.deepEqual(counts(await world.collect({ atOnce: true })), { kept: 4, waiting: 3 });
    assert.deepEqual(counts(await world.collect()), { kept: 4, deleted: 3 });
    assert.deepEqual(await world.names(), kept);
    await loadTree(new Fetcher([world.depot], t.signal), world.roots[0]!);
  });
}

test("a release that is written just after its packs went out of use is read at once, and back with the next run", async (t) => {
  const world = makeWorld(t);
  const late = await world.publish(1);
  await world.collect();
  assert.deepEqual(counts(await world.collect()), { retired: 4 });
  world.roots.push(late);
  await assert.rejects(loadTree(new Fetcher([world.depot], t.signal), late), { code: "BLOB_MISSING" });
  await loadTree(new Fetcher([seesRetired(world.depot)], t.signal), late);
  assert.deepEqual(counts(await world.collect({ atOnce: true })), { restored: 4 });
  await loadTree(new Fetcher([world.depot], t.signal), late);
});

test("what was taken out of use a moment ago is left by another collector, whatever it believes of the releases", async (t) => {
  const world = makeWorld(t);
  await world.publish(1);
  await world.collect();
  await world.collect();
  for (let n = 0; n < 3; n++) assert.deepEqual(counts(await world.collect({ atOnce: true })), { waiting: 4 });
});

test("an index that is written anew while a collection runs stays: the one that was out of use leads to what goes", async (t) => {
  const world = makeWorld(t);
  const part = writeTree(tempDir(t), { own: noise(20_000, 1) });
  const options = { previous: null, now: 0, cacheDir: null, signal: t.signal };
  await publish({ source: plainSource(part), depot: world.depot, ...options });
  const shared = await world.publish(1); // in two packs
  await world.collect();
  await world.collect();
  world.roots.push(shared);
  const meanwhile = async (): Promise<void> => void (await world.publish(1)); // in one pack, since none is found
  await world.collect({ meanwhile });
  await loadTree(new Fetcher([world.depot], t.signal), shared);
  await world.collect();
  await loadTree(new Fetcher([world.depot], t.signal), shared);
  assert.deepEqual((await world.names()).retired, []);
});

test("who publishes after that stores it again, and that is not what is deleted", async (t) => {
  const world = makeWorld(t);
  await world.publish(1);
  await world.collect();
  await world.collect();
  world.roots.push(await world.publish(1));
  assert.deepEqual(counts(await world.collect()), { kept: 4, deleted: 4 });
  await loadTree(new Fetcher([world.depot], t.signal), world.roots[0]!);
});

test("a delta is kept while both of its trees are", async (t) => {
  const world = makeWorld(t);
  const [a, b] = [await world.publish(1), await world.publish(2)];
  world.roots.push(a, b);
  const delta = `deltas/${b.tree}.${a.tree}`;
  await world.depot.put(delta, bytesBlob(Buffer.from("a delta")), t.signal);
  for (let n = 0; n < 3; n++) await world.collect();
  assert.ok((await world.names()).used.includes(delta));
  world.roots.splice(0, 1);
  for (let n = 0; n < 3; n++) await world.collect();
  assert.equal((await world.names()).used.length, 4);
});

test("while a kept release's index cannot be read, no pack goes", async (t) => {
  const world = makeWorld(t);
  const [kept] = [await world.publish(1), await world.publish(2)];
  world.roots.push(kept);
  await world.depot.put(indexName(kept.tree), bytesBlob(Buffer.from("damaged")), t.signal);
  for (let n = 0; n < 4; n++) assert.deepEqual((await world.collect()).unreadable, [kept.tree]);
  assert.equal((await world.names()).used.filter((name) => name.startsWith("packs/")).length, 2);
});

test("a kept release that was never stored, or is gone, keeps no pack of others from going", async (t) => {
  const world = makeWorld(t);
  const [kept] = [await world.publish(1), await world.publish(2)];
  const bogus = { ...kept, tree: digestOf("no tree") as string as TreeId, rows: digestOf("no rows") };
  world.roots.push(kept, bogus);
  for (let n = 0; n < 4; n++) assert.deepEqual((await world.collect()).unreadable, []);
  assert.equal((await world.names()).used.filter((name) => name.startsWith("packs/")).length, 1);
  await loadTree(new Fetcher([world.depot], t.signal), kept);
});

test("a dry run counts and changes nothing; other names and damaged notes are passed over", async (t) => {
  const world = makeWorld(t);
  await world.publish(1);
  for (const name of ["root.json", "orders/web/1.json", "upkeep/nonsense"]) {
    await world.depot.put(name, bytesBlob(Buffer.from("{}")), t.signal);
  }
  await world.collect();
  const before = await Array.fromAsync(world.depot.list("", t.signal));
  assert.deepEqual(counts(await world.collect({ dryRun: true })), { retired: 4 });
  assert.deepEqual(await Array.fromAsync(world.depot.list("", t.signal)), before);
  for (let n = 0; n < 3; n++) await world.collect();
  const after = await Array.fromAsync(world.depot.list("", t.signal));
  assert.deepEqual(
    after.filter((name) => name.endsWith("json")),
    ["orders/web/1.json", "root.json"],
  );
});

test("what somebody else laid among the packs stays, and keeps nothing from being collected", async (t) => {
  const world = makeWorld(t);
  await world.publish(1);
  const { root } = world.depot as DirectoryDepot;
  const others = [`packs/README`, `packs/${"a".repeat(190)}`, "upkeep/NOTES", "retired/x/packs/y"];
  for (const name of others) {
    fs.mkdirSync(path.dirname(path.join(root, "blobs", name)), { recursive: true });
    fs.writeFileSync(path.join(root, "blobs", name), "mine");
  }
  for (let n = 0; n < 2; n++) await world.collect();
  assert.deepEqual(counts(await world.collect()), { deleted: 4 });
  for (const name of others) assert.ok(fs.existsSync(path.join(root, "blobs", name)), name);
});

test("notes that another collection is done with are passed over", async (t) => {
  const world = makeWorld(t);
  await world.publish(1);
  await world.collect();
  const depot: PrunableDepot = {
    ...world.depot,
    async *list(prefix, signal) {
      const names = await Array.fromAsync(world.depot.list(prefix, signal));
      for (const name of names) if (prefix === "upkeep/") await world.depot.delete(name, signal);
      yield* names;
    },
  };
  const options = { depot, roots: () => [], graceMs: GRACE_MS, clock: fakeClock(), signal: t.signal };
  assert.deepEqual(counts(await collect(options)), { noted: 4 });
});

test("a server far away is asked for several blobs at a time, and not for all of them", async (t) => {
  const world = makeWorld(t);
  for (let n = 0; n < 6; n++) await world.publish(n);
  await world.collect();
  let [now, most] = [0, 0];
  const depot: PrunableDepot = {
    ...world.depot,
    async rename(...args) {
      most = Math.max(most, (now += 1));
      await sleep(5);
      await world.depot.rename(...args);
      now -= 1;
    },
  };
  const options = { depot, roots: () => [], graceMs: 0, clock: systemClock, signal: t.signal };
  const { retired } = await collect(options);
  assert.ok(retired.blobs > 16);
  assert.equal(most, 16);
});

for (const point of ["upkeep.step", "upkeep.step:3", "upkeep.written"]) {
  test(`killed at ${point}, a run is gone on with by the next ones`, async (t) => {
    const folder = tempDir(t);
    const depot = directoryDepot(folder);
    const source = plainSource(writeTree(path.join(folder, "tree"), { own: noise(20_000, 1) }));
    await publish({ source, depot, previous: null, now: 0, cacheDir: null, signal: t.signal });
    const script = childProgram(import.meta.dirname, "collect.child.ts");
    const run = (fault: string): string | number | null => {
      const env = { ...process.env, SKEIN_FAULT: fault };
      const child = spawnSync(process.execPath, [script, folder], { env, encoding: "utf8" });
      return child.signal ?? child.status;
    };
    assert.equal(run(""), 0);
    assert.equal(run(point), "SIGKILL");
    assert.equal(run(point === "upkeep.written" ? point : ""), point === "upkeep.written" ? "SIGKILL" : 0);
    for (let n = 0; n < 3; n++) assert.equal(run(""), 0);
    const left = await Array.fromAsync(depot.list("", t.signal));
    assert.deepEqual(
      left.filter((name) => !name.startsWith("upkeep/")),
      [],
    );
    assert.equal(left.length, 1, "one run's notes are left");
  });
}
