import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { noise } from "../../release/release.fixture.ts";
import { bucketWorld, type BucketWorld } from "./bucket-world.fixture.ts";

const names = (world: BucketWorld, folder: string): string[] =>
  fs.readdirSync(path.join(world.bucketDir, "blobs", folder)).sort();

test("a revision in a bucket has deltas from those before it, and machines follow them", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["site"]);
  const program = noise(1_500_000, 3);
  await world.spool("site", { program, version: "v1" });
  await machine.sync();
  const packs = names(world, "packs");
  const edited = Buffer.from(program);
  edited.fill(1, 900_000, 900_050);
  const v2 = await world.spool("site", { program: edited, version: "v2" });
  assert.equal(names(world, "deltas").length, 1);
  // Without the packs of the new revision nothing but the delta leads there.
  for (const name of names(world, "packs")) {
    if (!packs.includes(name)) fs.rmSync(path.join(world.bucketDir, "blobs/packs", name));
  }
  await world.jump(v2);
  const { packages } = await machine.sync();
  const { directory = 0, disk = 0 } = packages[0]?.sources ?? {};
  assert.ok(directory > 0 && directory < 1000, `${directory} bytes came`);
  assert.ok(disk > program.length - 100, `${disk} bytes were made of what was here`);
  assert.match(machine.said.at(-1) ?? "", /fetched [0-9a-f]{8} {2}directory \d+ B, disk 1\.5 MB$/);
  const installed = path.join(machine.root, "site/current/program");
  assert.ok(fs.readFileSync(installed).equals(edited));
});

test("what was published from here is at hand when the next revision is compared with the three before it (long)", async (t) => {
  const world = await bucketWorld(t);
  const program = noise(900_000, 3);
  await world.spool("site", { program, version: "v1" });
  const asked: string[] = [];
  const { depot } = world.bucket;
  const get = depot.get.bind(depot);
  depot.get = (name, signal, range) => {
    asked.push(name);
    return get(name, signal, range);
  };
  await world.spool("site", { program: Buffer.concat([program, program.subarray(0, 50)]), version: "v2" });
  assert.equal(names(world, "deltas").length, 1);
  assert.deepEqual(
    asked.filter((name) => name.startsWith("packs/")),
    [],
  );
  for (const n of [50, 60, 70]) {
    const changed = Buffer.concat([program, program.subarray(n, 120)]);
    await world.spool("site", { program: changed, version: `${n}` });
  }
  const to = Map.groupBy(names(world, "deltas"), (name) => name.split(".")[0]);
  const counts = [...to.values()].map(({ length }) => length);
  assert.deepEqual(
    counts.toSorted((a, b) => a - b),
    [1, 2, 3, 3],
    "from the three before, where there are so many",
  );
});
