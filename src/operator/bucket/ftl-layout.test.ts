import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { bucketWorld } from "./bucket-world.fixture.ts";

test("FTL's own clients find each revision's archive and the name of the active one", async (t) => {
  const world = await bucketWorld(t);
  const read = (name: string): Buffer => readFileSync(path.join(world.bucketDir, name));
  const v1 = await world.spool("my_site", { version: "v1" }, "ftl");
  assert.deepEqual(read(`${v1}.tar.gz`).subarray(0, 2), Buffer.from([0x1f, 0x8b]));
  assert.equal(read("my_site.rev").toString(), "", "spooling activates nothing");
  await world.jump(v1);
  assert.equal(read("my_site.rev").toString(), v1);
  await world.jump(await world.spool("my_site", { version: "v2" }));
  await world.jumpBack("my_site");
  assert.equal(read("my_site.rev").toString(), v1);
});

test("where nobody asked for FTL's layout, nothing of it is written", async (t) => {
  const world = await bucketWorld(t);
  const v1 = await world.spool("my_site", { version: "v1" });
  await world.jump(v1);
  assert.ok(!existsSync(path.join(world.bucketDir, "my_site.rev")));
  assert.ok(!existsSync(path.join(world.bucketDir, `${v1}.tar.gz`)));
});
