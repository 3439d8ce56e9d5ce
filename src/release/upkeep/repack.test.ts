import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import test, { type TestContext } from "node:test";
import * as fc from "fast-check";
import { directoryDepot, type DirectoryDepot } from "../../depot/directory/directory.ts";
import { fakeClock } from "../../lib/time/fake-clock.fixture.ts";
import type { Digest } from "../../lib/text/ids.ts";
import { publish, type Published } from "../publish/publish.ts";
import { noise, plainSource, tempDir, writeTree, type Tree } from "../release.fixture.ts";
import { indexOf } from "../fetch/tree-blobs.ts";
import { verifyTree } from "../export/verify-tree.ts";
import { collect } from "./collect.ts";
import { repack, type Repacked } from "./repack.ts";
import { packsToRewrite, REPACK } from "./repack-plan.ts";
import { childProgram } from "../../lib/testing/child.fixture.ts";

interface World {
  readonly folder: string;
  readonly depot: DirectoryDepot;
  readonly roots: Published[];
  publish(tree: Tree): Promise<Published>;
  repack(): Promise<Repacked>;
  /** As often as it takes to delete what nobody needs. */
  collect(): Promise<void>;
  packBytes(): Promise<number>;
  packsOf(tree: Published): Promise<number>;
}

let trees = 0;

function makeWorld(t: TestContext): World {
  const folder = tempDir(t);
  const depot = directoryDepot(path.join(folder, "depot"));
  const roots: Published[] = [];
  const clock = fakeClock();
  const { signal } = t;
  return {
    folder,
    depot,
    roots,
    async publish(tree) {
      const dir = writeTree(path.join(folder, `tree-${(trees += 1)}`), tree);
      return await publish({
        source: plainSource(dir),
        depot,
        previous: null,
        now: 0,
        cacheDir: null,
        signal,
      });
    },
    repack: async () => await repack({ depot, roots: () => roots, signal }),
    async collect() {
      for (let n = 0; n < 3; n++) {
        await collect({ depot, roots: () => roots, graceMs: 1, clock, signal });
        clock.advance(2);
      }
    },
    async packBytes() {
      const entries = await Array.fromAsync(depot.entries("packs/", signal));
      return entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    },
    packsOf: async (tree) => (await indexOf(depot, tree.tree, signal))?.packs.length ?? 0,
  };
}

async function verifyAll(t: TestContext, world: World): Promise<void> {
  for (const root of world.roots) await verifyTree([world.depot], root, t.signal);
}

test("a pack of which little is needed any more is rewritten, and the rest of it is collected", async (t) => {
  const world = makeWorld(t);
  const kept = noise(60_000, 1);
  await world.publish({ kept, lost: noise(900_000, 3) });
  world.roots.push(await world.publish({ kept, big: noise(700_000, 5) }));
  const before = await world.packBytes();
  const done = await world.repack();
  assert.deepEqual([done.replaced, done.made], [1, 1]);
  await verifyAll(t, world);
  await world.collect();
  await verifyAll(t, world);
  const after = await world.packBytes();
  assert.ok(after < before - 850_000, `${before} became ${after}`);
  assert.deepEqual(await world.repack(), { replaced: 0, made: 0, bytes: 0 });
});

test("a release that came to need very many packs needs few again, and so do those that share them (long)", async (t) => {
  const world = makeWorld(t);
  const tree: Record<string, Buffer> = {};
  for (let n = 0; n < 40; n++) {
    tree[`file-${n}`] = noise(2000, 2 * n + 1);
    const made = await world.publish({ ...tree });
    if (n >= 36) world.roots.push(made);
  }
  assert.equal(await world.packsOf(world.roots.at(-1)!), 40);
  await world.repack();
  for (const root of world.roots) assert.ok((await world.packsOf(root)) <= REPACK.mostPacks / 2 + 1);
  await verifyAll(t, world);
  await world.collect();
  await verifyAll(t, world);
});

test("a damaged pack is left to those that need it, and the others are put together", async (t) => {
  const world = makeWorld(t);
  const kept = noise(60_000, 1);
  const good = noise(60_000, 2);
  await world.publish({ kept, lost: noise(900_000, 3) });
  world.roots.push(await world.publish({ kept, big: noise(700_000, 5) }));
  await world.publish({ good, lost: noise(900_000, 7) });
  world.roots.push(await world.publish({ good, big: noise(700_000, 9) }));
  const [bad, fine] = world.roots as [Published, Published];
  const old = (await indexOf(world.depot, bad.tree, t.signal))?.packs.at(-1);
  const file = path.join(world.depot.root, "blobs/packs", String(old));
  const bytes = fs.readFileSync(file);
  // Behind the head; what is needed of it lies anywhere.
  bytes.fill(0, 20_000);
  fs.writeFileSync(file, bytes);
  const before = (await indexOf(world.depot, bad.tree, t.signal))?.packs;
  assert.equal((await world.repack()).replaced, 1);
  assert.deepEqual((await indexOf(world.depot, bad.tree, t.signal))?.packs, before);
  await verifyTree([world.depot], fine, t.signal);
});

test("a tree of which a pack is out of use holds nothing up", async (t) => {
  const world = makeWorld(t);
  const shared = noise(60_000, 1);
  const one = await world.publish({ shared });
  const two = await world.publish({ shared, two: noise(60_000, 3) });
  world.roots.push(two);
  // Its rows lie in its own pack: what is lacking is found out by who looks for the chunks of its files.
  const [pack = assert.fail()] = (await indexOf(world.depot, one.tree, t.signal))?.packs ?? [];
  const aside = `retired/${pack}`;
  await world.depot.rename(`packs/${pack}`, aside, t.signal);
  assert.deepEqual(await world.repack(), { replaced: 0, made: 0, bytes: 0 });
  await world.depot.rename(aside, `packs/${pack}`, t.signal);
  await verifyAll(t, world);
});

test("deltas that an index names stay named", async (t) => {
  const { encodeIndex, indexName } = await import("../tree/release-index.ts");
  const { bytesBlob } = await import("../fetch/blobs.ts");
  const world = makeWorld(t);
  const before = await world.publish({ kept: noise(60_000, 1), lost: noise(900_000, 3) });
  const root = await world.publish({ kept: noise(60_000, 1) });
  world.roots.push(root);
  const index = await indexOf(world.depot, root.tree, t.signal);
  const deltas = [{ from: before.tree, bytes: 77 }];
  const named = bytesBlob(encodeIndex({ packs: index?.packs ?? [], deltas }));
  await world.depot.put(indexName(root.tree), named, t.signal);
  assert.equal((await world.repack()).replaced, 1);
  assert.deepEqual((await indexOf(world.depot, root.tree, t.signal))?.deltas, deltas);
});

test("whatever is published and dropped, repacking and collecting keep what is kept (long)", async (t) => {
  const file = fc.record({ name: fc.constantFrom("a", "b", "c", "d"), seed: fc.nat({ max: 6 }) });
  const release = fc.record({ files: fc.array(file, { minLength: 1, maxLength: 4 }), kept: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(fc.array(release, { minLength: 1, maxLength: 6 }), async (releases) => {
      const world = makeWorld(t);
      for (const { files, kept } of releases) {
        const sizes = files.map(
          ({ name, seed }) => [name, noise(40_000 * (1 + seed), 2 * seed + 1)] as const,
        );
        const made = await world.publish(Object.fromEntries(sizes));
        if (kept) world.roots.push(made);
        await world.repack();
      }
      await verifyAll(t, world);
      await world.collect();
      await world.repack();
      await world.collect();
      await verifyAll(t, world);
    }),
    { numRuns: 6 },
  );
});

for (const point of ["repack.packed", "repack.pointed"]) {
  test(`killed at ${point}, nothing is lost and the next run goes on`, async (t) => {
    const world = makeWorld(t);
    const shared = noise(60_000, 1);
    await world.publish({ shared, lost: noise(900_000, 3) });
    for (const n of [5, 7]) world.roots.push(await world.publish({ shared, own: noise(30_000, n) }));
    const script = childProgram(import.meta.dirname, "repack.child.ts");
    const run = (fault: string) =>
      spawnSync(process.execPath, [script, path.join(world.folder, "depot"), JSON.stringify(world.roots)], {
        env: { ...process.env, SKEIN_FAULT: fault },
        encoding: "utf8",
      });
    assert.equal(run(point).signal, "SIGKILL");
    await verifyAll(t, world);
    const again = run("");
    assert.equal(again.status, 0, again.stderr);
    await world.collect();
    await verifyAll(t, world);
    assert.ok((await world.packBytes()) < 300_000);
  });
}

test("what is rewritten: packs over half dead, the small ones of trees that need too many, no more than a run may", () => {
  const id = (n: number): Digest => String(n).padStart(64, "0") as Digest;
  const MIB = 2 ** 20;
  const packs = new Map([
    [id(1), { bytes: 10 * MIB, live: 4 * MIB }],
    [id(2), { bytes: 10 * MIB, live: 6 * MIB }],
    [id(3), { bytes: MIB, live: MIB }],
    [id(4), { bytes: 2 * MIB, live: 2 * MIB }],
    [id(5), { bytes: 16 * MIB, live: 16 * MIB }],
  ]);
  const rule = { leastLive: 0.5, mostPacks: 4, maxBytes: 100 * MIB };
  const chosen = (trees: readonly (readonly number[])[], change = {}): number[] => {
    const census = { packs, trees: trees.map((tree) => tree.map(id)) };
    return [...packsToRewrite(census, { ...rule, ...change })].map(Number).sort((a, b) => a - b);
  };
  assert.deepEqual(chosen([[1, 2, 3, 4]]), [1]);
  assert.deepEqual(chosen([[1, 2, 3, 4, 5]]), [1, 3, 4]);
  assert.deepEqual(chosen([[1, 2, 3, 4, 5]], { maxBytes: 3.5 * MIB }), [3, 4]);
  assert.deepEqual(chosen([[2, 3]]), [1]);
});
