import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { revisionWord } from "../../bucket/layout.ts";
import { bucketWorld, scripts, type BucketWorld, type Machine } from "./bucket-world.fixture.ts";

const pageOf = (machine: Machine): string =>
  readFileSync(path.join(machine.root, "site/current/version"), "utf8");

interface Held {
  readonly ordered: string;
  readonly held: string;
  /** Fails its pre-jump. */
  readonly bad: string;
}

/** A machine on which a person jumped away from what was ordered. */
async function heldMachine(world: BucketWorld): Promise<Held & { machine: Machine }> {
  const machine = world.machine("m", ["site"]);
  const [ordered, held, bad] = [
    await world.spool("site", scripts("ordered")),
    await world.spool("site", scripts("held")),
    await world.spool("site", scripts("bad", { "pre-jump": "exit 4" })),
  ];
  await world.jump(ordered);
  await machine.sync();
  await machine.jump("site", revisionWord(held).revision);
  return { machine, ordered, held, bad };
}

test("a jump that fails leaves what was held before it, until a newer order (long)", async (t) => {
  const world = await bucketWorld(t);
  const { machine, held, bad, ordered } = await heldMachine(world);
  machine.said.length = 0;
  await assert.rejects(machine.jump("site", revisionWord(bad).revision), { code: "HOOK_FAILED" });
  assert.deepEqual([pageOf(machine), machine.scripts()], ["held", ["ran pre-jump of bad"]]);
  const { packages, isDone } = await machine.sync();
  assert.deepEqual([`site.${packages[0]?.held}`, packages[0]?.troubles, isDone], [held, [], true]);
  assert.equal(pageOf(machine), "held");
  await world.jump(ordered);
  await world.jump(bad);
  await world.jump(ordered);
  assert.equal((await machine.sync()).packages[0]?.held, null);
  assert.equal(pageOf(machine), "ordered");
});

test("a jump that was cut and fails when a sync goes on with it gives way to what was held before it (long)", async (t) => {
  const world = await bucketWorld(t);
  const { machine, held, bad } = await heldMachine(world);
  const cut = new AbortController();
  const onLine = (line: string): void => {
    if (line.includes("ran pre-jump of bad")) cut.abort();
  };
  const cutShort = world.machine("m", [], { signal: cut.signal, onLine });
  await assert.rejects(cutShort.jump("site", revisionWord(bad).revision));
  machine.said.length = 0;
  const { packages } = await machine.sync();
  assert.deepEqual(
    packages[0]?.troubles.map(({ code }) => code),
    ["HOOK_FAILED"],
  );
  assert.deepEqual([`site.${packages[0]?.held}`, pageOf(machine)], [held, "held"]);
  assert.deepEqual((await machine.sync()).packages[0]?.troubles, [], "it is told once");
});

test("a jump to what is ordered ends what is held, if it comes to it", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["site"]);
  const down = path.join(world.dir, "down");
  const ordered = await world.spool("site", scripts("ordered", { "pre-jump": `! [ -e ${down} ]` }));
  await world.jump(ordered);
  await machine.sync();
  const other = await world.spool("site", scripts("other"));
  await machine.jump("site", revisionWord(other).revision);
  writeFileSync(down, "");
  await assert.rejects(machine.jump("site", revisionWord(ordered).revision), { code: "HOOK_FAILED" });
  const [still] = (await machine.sync()).packages;
  assert.deepEqual([pageOf(machine), `site.${still?.held}`, still?.troubles], ["other", other, []]);
  rmSync(down);
  assert.equal((await machine.jump("site", revisionWord(ordered).revision)).held, false);
  machine.said.length = 0;
  const { packages, isDone } = await machine.sync();
  assert.deepEqual([packages[0]?.held, packages[0]?.troubles, isDone], [null, [], true]);
  assert.deepEqual([pageOf(machine), machine.scripts()], ["ordered", []]);
});

test("where what was held is forgotten and what is ordered fails here, each sync tries once and ends (long)", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["site"]);
  const down = path.join(world.dir, "down");
  await world.jump(await world.spool("site", scripts("ordered", { "pre-jump": `! [ -e ${down} ]` })));
  await machine.sync();
  const other = await world.spool("site", scripts("other"));
  await machine.jump("site", revisionWord(other).revision);
  rmSync(path.join(machine.root, "site/.skein/state/hold.json"));
  writeFileSync(down, "");
  for (const _ of ["a sync", "the next one"]) {
    machine.said.length = 0;
    const { packages, isDone } = await machine.sync();
    assert.deepEqual([packages[0]?.troubles.map(({ code }) => code), isDone], [["HOOK_FAILED"], false]);
    assert.deepEqual([pageOf(machine), machine.scripts()], ["other", ["ran pre-jump of ordered"]]);
  }
  rmSync(down);
  assert.equal((await machine.sync()).isDone, true);
  assert.equal(pageOf(machine), "ordered");
});
