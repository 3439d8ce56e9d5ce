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
  await machine.sync();
  const installed = path.join(machine.root, "site/current/program");
  assert.ok(fs.readFileSync(installed).equals(edited));
});

test("what was published from here is at hand when the next revision is compared with it", async (t) => {
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
});
