import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { readBy } from "../../depot/seam/read-by.ts";
import { indexName } from "../tree/release-index.ts";
import { freedBytes } from "./freed.ts";
import { measureInstall, type MeasureOptions } from "./measure.ts";
import type { Published } from "../publish/publish.ts";
import { makeWorld, noise, readTree, releaseId, type World } from "../release.fixture.ts";
import { PATIENCE_MS } from "../../lib/testing/patience.fixture.ts";

const optionsFor = (world: World, n: number, tree: Published): MeasureOptions => ({
  release: releaseId(n),
  tree,
  depots: [world.depot],
  revs: world.revs,
  link: true,
  signal: AbortSignal.timeout(PATIENCE_MS),
});

test("what an install will fetch and write is known before, about to the byte, and nothing is changed", async (t) => {
  const world = makeWorld(t);
  const big = noise(3_000_000);
  const first = await world.publish({ "big.bin": big, "a.txt": "a", "same.bin": noise(500_000, 7) });
  const empty = await measureInstall(optionsFor(world, 1, first));
  assert.deepEqual([empty.already, empty.atMost], [false, false]);
  assert.ok(empty.diskBytes >= 3_500_000 && empty.diskBytes < 3_600_000, String(empty.diskBytes));
  const installed = await world.install(1, first);
  assert.ok(
    Math.abs(installed.bytesFetched - empty.fetchBytes) < 60_000,
    `${installed.bytesFetched} ${empty.fetchBytes}`,
  );
  assert.deepEqual(await measureInstall(optionsFor(world, 1, first)), {
    already: true,
    fetchBytes: 0,
    atMost: false,
    diskBytes: 0,
  });
  const changed = Buffer.from(big);
  changed[1_500_000] = 9;
  const second = await world.publish(
    { "big.bin": changed, "a.txt": "a", "same.bin": noise(500_000, 7) },
    { previous: first },
  );
  const before = readTree(world.revs);
  const update = await measureInstall(optionsFor(world, 2, second));
  assert.deepEqual(readTree(world.revs), before);
  assert.ok(update.fetchBytes > 0 && update.fetchBytes < 800_000, String(update.fetchBytes));
  assert.ok(update.atMost, "a delta may be made for it");
  assert.ok(update.diskBytes >= 3_000_000 && update.diskBytes < 3_100_000, String(update.diskBytes));
  const { bytesFetched } = await world.install(2, second);
  assert.ok(bytesFetched <= update.fetchBytes + 60_000, `${bytesFetched} of ${update.fetchBytes}`);
});

test("an index that names other packs is no reason not to know", async (t) => {
  const world = makeWorld(t);
  const first = await world.publish({ "a.txt": "a" });
  const second = await world.publish({ "b.txt": noise(100_000) });
  const stale = readBy(world.depot, (name, signal, range) =>
    world.depot.get(name === indexName(second.tree) ? indexName(first.tree) : name, signal, range),
  );
  const { fetchBytes } = await measureInstall({
    ...optionsFor(world, 1, second),
    depots: [stale, world.depot],
  });
  assert.ok(fetchBytes > 100_000, String(fetchBytes));
});

test("what removals free counts a shared file with the last that has it", async (t) => {
  const world = makeWorld(t);
  const first = await world.publish({ "shared.bin": noise(800_000), "own.bin": noise(400_000, 3) });
  await world.install(1, first);
  await world.install(2, await world.publish({ "shared.bin": noise(800_000) }, { previous: first }));
  const [one, two] = [releaseId(1), releaseId(2)];
  const freed = (...ids: (typeof one)[]): number => Math.round(freedBytes(world.revs, ids) / 100_000);
  assert.deepEqual([freed(one), freed(two), freed(one, two)], [4, 0, 12]);
  const odd = await world.publish({ "a/b.txt": "b", "c.bin": noise(300_000, 4) }, { previous: first });
  const { dir } = await world.install(3, odd);
  fs.rmSync(path.join(dir, "a"), { recursive: true });
  fs.writeFileSync(path.join(dir, "a"), "");
  assert.equal(freed(releaseId(3)), 3, "a file in a folder's place");
});
