/** Machines whose clock, root or folders are not as one would wish, and packages with names that nobody foresaw. */
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { sync, syncForever } from "../../agent/subscriber/sync.ts";
import type { Tell } from "../tell/events.ts";
import { fakeClock } from "../../lib/time/fake-clock.fixture.ts";
import { bucketWorld, scripts, type BucketWorld } from "./bucket-world.fixture.ts";
import { spool } from "./spool.ts";

const MINUTE = 60_000;

/** Spools a text where the clock is off by so much. @returns the revision, and what was noted */
async function spoolAt(
  world: BucketWorld,
  text: string,
  offMs: number,
  signal: AbortSignal,
): Promise<[string, string[]]> {
  const file = path.join(world.dir, "site");
  writeFileSync(file, text);
  const notes: string[] = [];
  const tell: Tell = (event) => void (event.type === "note" && notes.push(event.text));
  const operator = { ...(await world.operator()), clock: fakeClock(Date.now() + offMs) };
  const options = { env: "default", layout: "skein", tell, signal } as const;
  return [(await spool(operator, file, options)).revision, notes];
}

test("a revision sorts after the newest that is there, also where the clock was set back", async (t) => {
  const world = await bucketWorld(t);
  const revisions: string[] = [];
  for (const [text, minutes] of [
    ["a", 0],
    ["b", 5],
    ["c", 1],
    ["d", -3],
    ["e", 6],
  ] as const) {
    const [revision, notes] = await spoolAt(world, text, minutes * MINUTE, t.signal);
    revisions.push(revision);
    assert.deepEqual(notes, []);
  }
  assert.deepEqual(revisions.toSorted(), revisions);
});

test("who spools an hour behind who spooled last is told that a clock is wrong, and nothing is dated ahead", async (t) => {
  const world = await bucketWorld(t);
  const [ahead] = await spoolAt(world, "a", 60 * MINUTE, t.signal);
  const [revision, notes] = await spoolAt(world, "b", 0, t.signal);
  assert.ok(revision < ahead);
  assert.match(
    notes.join(),
    /^a release of site is dated \S+, ahead of this machine's clock, .*: set the clock/,
  );
  const [next] = await spoolAt(world, "c", -MINUTE, t.signal);
  assert.ok(revision < next && next < ahead);
});

test("a machine whose clock is a few minutes behind activates what is ordered at once", async (t) => {
  const world = await bucketWorld(t);
  await world.jump(await world.spool("site", { version: "v1" }));
  const clock = fakeClock(Date.now() - 9 * MINUTE);
  const machine = world.machine("behind", ["site"], { clock });
  const { isDone } = await machine.sync();
  assert.ok(isDone);
  assert.match(machine.current("site") ?? "", /^revs\//);
});

test("a machine whose clock is far behind says so, and catches up when it is set", async (t) => {
  const world = await bucketWorld(t);
  await world.jump(await world.spool("site", { version: "v1" }));
  const machine = world.machine("far", ["site"], { clock: fakeClock(Date.now() - 20 * MINUTE) });
  const { packages } = await machine.sync();
  assert.deepEqual(
    packages[0]?.troubles.map(({ code, hint }) => [code, hint]),
    [["DOC_FROM_FUTURE", "Set the clock of the machine that differs."]],
  );
  const right = world.machine("far", ["site"]);
  assert.ok((await right.sync()).isDone);
});

test("a root that is missing or a file is told as such, and one without packages how to have one", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", []);
  const { tools } = machine;
  const root = path.join(world.dir, "m/deploy");
  for (const make of [() => undefined, () => writeFileSync(root, "")]) {
    make();
    const missing = { code: "NOT_FOUND", message: `there is no folder ${root}` };
    await assert.rejects(sync(root, tools), missing);
    await assert.rejects(
      syncForever(root, 1000, tools, () => undefined),
      missing,
    );
    rmSync(root, { force: true });
  }
  mkdirSync(root);
  assert.ok((await sync(root, tools)).isDone);
  assert.deepEqual(machine.said, [`this machine subscribes to nothing yet: mkdir ${root}/PACKAGE`]);
});

test("a folder that nothing was spooled for is told of, since its name may be mistyped", async (t) => {
  const world = await bucketWorld(t);
  await world.jump(await world.spool("site", { version: "v1" }));
  const machine = world.machine("m", ["site", "siet"]);
  assert.ok((await machine.sync()).isDone);
  const told = machine.said.filter((line) => line.includes("nothing was spooled"));
  assert.deepEqual(told, [`siet: nothing was spooled to dir:${world.bucketDir} by that name yet`]);
});

const ROOT = process.getuid?.() === 0 ? {} : { skip: "root alone has to be careful whose links it follows" };

test("root writes nothing through a link in the place of the root's own folder", ROOT, async (t) => {
  const world = await bucketWorld(t);
  await world.jump(await world.spool("site", { version: "v1" }));
  const machine = world.machine("m", ["site"]);
  const elsewhere = path.join(world.dir, "elsewhere");
  mkdirSync(elsewhere);
  symlinkSync(elsewhere, path.join(machine.root, ".skein"));
  const { packages } = await machine.sync();
  assert.deepEqual(
    packages[0]?.troubles.map(({ code }) => code),
    ["USER_REFUSED"],
  );
  assert.deepEqual(readdirSync(elsewhere), []);
});

test("a package's folder may be a link, but no link makes one folder two packages", async (t) => {
  const world = await bucketWorld(t);
  for (const name of ["site", "other", "alias", "zoo"])
    await world.jump(await world.spool(name, { version: name }));
  const machine = world.machine("m", ["site", "other"]);
  const elsewhere = path.join(world.dir, "elsewhere");
  renameSync(path.join(machine.root, "other"), elsewhere);
  symlinkSync(elsewhere, path.join(machine.root, "other"));
  symlinkSync("site", path.join(machine.root, "alias"));
  symlinkSync(elsewhere, path.join(machine.root, "zoo"));
  const { packages, isDone } = await machine.sync();
  assert.deepEqual([packages.map((one) => one.package), isDone], [["other", "site"], true]);
  const told = machine.said.filter((line) => line.includes("leads to the folder"));
  assert.equal(told.length, 2);
  assert.match(told.join("\n"), /alias: leads to the folder of site.*\nzoo: leads to the folder of other/);
  const after = await machine.sync();
  assert.deepEqual(
    after.packages.map(({ active, changed, troubles }) => [active !== null, changed, troubles]),
    [
      [true, false, []],
      [true, false, []],
    ],
  );
});

test("what FTL had activated is active again when the first order fails, whichever script failed (long)", async (t) => {
  const world = await bucketWorld(t);
  for (const name of ["pre-jump", "post-jump"]) {
    const machine = world.machine(name, [name]);
    const own = "revs/2014061252143ab";
    mkdirSync(path.join(machine.root, name, own), { recursive: true });
    symlinkSync(own, path.join(machine.root, name, "current"));
    await world.jump(await world.spool(name, scripts("bad", { [name]: "exit 1" })));
    const [failed] = (await machine.sync()).packages;
    assert.ok(failed?.troubles.some(({ code }) => code === "DEPLOY_FAILED"));
    assert.equal(machine.current(name), own, name);
    const good = await world.spool(name, scripts("good"));
    await world.jump(good);
    assert.equal((await machine.sync()).isDone, true);
    await world.jump(await world.spool(name, scripts("worse", { [name]: "exit 2" })));
    const [undone] = (await machine.sync()).packages;
    assert.equal(`${name}.${undone?.active}`, good, "it is one of ours that it goes back to from then on");
  }
});

test("what is active stays so when the next order fails, where all else that was known here is lost", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["site"]);
  const v1 = await world.spool("site", scripts("v1"));
  await world.jump(v1);
  await machine.sync();
  const was = machine.current("site");
  rmSync(path.join(machine.root, "site/.skein"), { recursive: true });
  await world.jump(await world.spool("site", scripts("bad", { "pre-jump": "exit 1" })));
  for (const _ of ["at once", "and later"]) {
    await machine.sync();
    assert.equal(machine.current("site"), was);
  }
});

test("what was read last need not be written down: the packages of the root are brought all the same", async (t) => {
  const world = await bucketWorld(t);
  await world.jump(await world.spool("site", { version: "v1" }));
  const machine = world.machine("m", ["site"]);
  mkdirSync(path.join(machine.root, ".skein/poll.json"), { recursive: true });
  const { unread, isDone } = await machine.sync();
  assert.deepEqual([unread, isDone], [null, true]);
});

test("two packages that an app's name cannot tell apart are two, for those who spool and those who fetch (long)", async (t) => {
  const world = await bucketWorld(t);
  const names = [
    "Odd Name!",
    "odd-name",
    "9lives",
    "lives",
    `${"long-".repeat(9)}a`,
    `${"long-".repeat(9)}b`,
  ];
  for (const name of names) await world.jump(await world.spool(name, { version: name }));
  const machine = world.machine("m", names);
  const { packages, isDone } = await machine.sync();
  assert.ok(isDone);
  assert.equal(new Set(packages.map(({ active }) => active)).size, names.length);
  const file = path.join(world.dir, "of\nb.bin");
  writeFileSync(file, "x");
  await assert.rejects(world.spoolFile(file), { code: "USAGE", message: /'of b' is no name of a package/ });
  assert.match(await world.spool("plain.b\u0007c", { version: "v1" }), /^plain\.\d{17}-/);
});
