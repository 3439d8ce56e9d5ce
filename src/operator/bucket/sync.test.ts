import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { text } from "node:stream/consumers";
import { test, type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { packagePlace } from "../../agent/subscriber/package-place.ts";
import { syncForever } from "../../agent/subscriber/sync.ts";
import { takeTurn } from "../../agent/subscriber/turn.ts";
import { counted } from "../../bucket/bucket.fixture.ts";
import { openBucket } from "../../bucket/bucket.ts";
import { namesUnder, readRoot } from "../../bucket/entries.ts";
import { releasePlaceOf, revisionWord, ROOT_NAME } from "../../bucket/layout.ts";
import { remakeRoot } from "../../bucket/publish.ts";
import { fakeClock } from "../../lib/time/fake-clock.fixture.ts";
import { systemClock, type Clock } from "../../lib/time/clock.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { isReleaseId } from "../../lib/text/ids.ts";
import { stick, sticking } from "../../release/install/stuck.fixture.ts";
import { operatorDir } from "../identity/home.ts";
import { jumpMaster, masterPackages, masterRevisions } from "./master.ts";
import { bucketWorld, scripts, type BucketWorld, type Machine } from "./bucket-world.fixture.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";
import { childProgram } from "../../lib/testing/child.fixture.ts";

const revsOf = (machine: Machine, name: string): string[] =>
  readdirSync(path.join(machine.root, name, "revs")).filter(isReleaseId);
const pageOf = (machine: Machine): string =>
  readFileSync(path.join(machine.root, "site/current/version"), "utf8");

function child(world: BucketWorld, machine: Machine, fault?: string, ...jump: string[]) {
  const home = path.join(path.dirname(machine.root), "skein");
  const args = [world.bucket.name, world.pin, machine.root, home, ...jump];
  return spawn(process.execPath, [childProgram(import.meta.dirname, "sync-run.child.ts"), ...args], {
    env: { ...process.env, ...(fault === undefined ? {} : { SKEIN_FAULT: fault }) },
    stdio: ["ignore", "pipe", "inherit"],
  });
}

test("spool, sync, jump: what is spooled comes first, and scripts run in their order", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["site"]);
  const v1 = await world.spool("site", scripts("v1"));
  await machine.sync();
  assert.deepEqual(await machine.revisions("site"), [v1]);
  assert.equal(machine.current("site"), undefined, "nobody said that it is to be active");
  await world.jump(v1);
  await machine.sync();
  const v2 = await world.spool("site", scripts("v2"));
  await machine.sync();
  await world.jump(v2);
  const last = await machine.sync();
  assert.deepEqual([last.isDone, `site.${last.packages[0]?.active}`], [true, v2]);
  const first = ["ran post-sync of v1", "ran pre-jump of v1", "ran post-jump of v1"];
  const second = ["ran post-sync of v2", "ran pre-jump of v2", "ran un-jump of v1", "ran post-jump of v2"];
  assert.deepEqual(machine.scripts(), [...first, ...second]);
});

test("a failing post-jump takes an order back for good, and leaves a jump on this machine (long)", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["site"]);
  const v1 = await world.spool("site", scripts("v1"));
  await world.jump(v1);
  await machine.sync();
  const bad = await world.spool("site", scripts("bad", { "post-jump": "exit 7" }));
  await world.jump(bad);
  machine.said.length = 0;
  const first = await machine.sync();
  const codes = (result: typeof first): string[] =>
    (result.packages[0]?.troubles ?? []).map(({ code }) => code);
  assert.deepEqual(codes(first), ["HOOK_FAILED", "DEPLOY_FAILED"]);
  assert.equal(pageOf(machine), "v1");
  assert.deepEqual(machine.scripts().slice(1), [
    "ran pre-jump of bad",
    "ran un-jump of v1",
    "ran post-jump of bad",
    "ran un-jump of bad",
    "ran pre-jump of v1",
    "ran post-jump of v1",
  ]);
  assert.deepEqual(codes(await machine.sync()), ["DEPLOY_FAILED"], "it is not tried again, and still said");
  const { troubles, held } = await machine.jump("site", revisionWord(bad).revision);
  assert.deepEqual([troubles.map(({ code }) => code), held], [["HOOK_FAILED"], true]);
  assert.equal(pageOf(machine), "bad");
  assert.deepEqual(codes(await machine.sync()), []);
  assert.equal(pageOf(machine), "bad");
});

test("a failing pre-jump switches nothing, ordered or by hand (long)", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["site"]);
  await world.jump(await world.spool("site", scripts("v1")));
  await machine.sync();
  const bad = await world.spool("site", scripts("bad", { "pre-jump": "exit 4" }));
  await machine.sync();
  await assert.rejects(machine.jump("site", revisionWord(bad).revision), { code: "HOOK_FAILED" });
  await world.jump(bad);
  const { packages } = await machine.sync();
  assert.deepEqual(
    packages[0]?.troubles.map(({ code }) => code),
    ["HOOK_FAILED", "DEPLOY_FAILED"],
  );
  assert.equal(pageOf(machine), "v1");
  assert.ok(!machine.scripts().includes("ran un-jump of v1"));
});

test("listing reads, and writes nothing anywhere", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["site"]);
  const v1 = await world.spool("site", { version: "v1" });
  await machine.sync();
  const all = (): string[] =>
    [world.bucketDir, machine.root]
      .flatMap((dir) => readdirSync(dir, { recursive: true, withFileTypes: true }))
      .map((entry) => {
        const file = path.join(entry.parentPath, entry.name);
        return `${file} ${lstatSync(file).mtimeMs}`;
      })
      .sort();
  const before = all();
  assert.deepEqual(await machine.revisions("site"), [v1]);
  const operator = await world.operator();
  const seen = await masterRevisions("site", { ...operator, env: "default", signal: t.signal });
  assert.deepEqual(
    seen.map(({ state }) => state),
    [null],
  );
  assert.deepEqual(await masterRevisions("none", { ...operator, env: "default", signal: t.signal }), []);
  assert.deepEqual(all(), before);
});

test("a new machine fetches what is active and what was before, and none of the history (long)", async (t) => {
  const world = await bucketWorld(t);
  const revisions: string[] = [];
  for (const version of ["v1", "v2", "v3", "v4"]) {
    revisions.push(await world.spool("site", { version }));
    await world.jump(revisions.at(-1) ?? "");
  }
  const machine = world.machine("late", ["site"]);
  await machine.sync();
  assert.equal(pageOf(machine), "v4");
  assert.deepEqual(await machine.revisions("site"), revisions.slice(2));
  await machine.jump("site", revisionWord(revisions[0] ?? "").revision);
  assert.equal(pageOf(machine), "v1", "an older one is fetched when a person asks for it");
});

test("what was purged while a person held it here goes when it is held no more (long)", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["site"]);
  const all: string[] = [];
  for (const version of ["v1", "v2", "v3", "v4"]) all.push(await world.spool("site", scripts(version)));
  const [v1 = "", v2 = "", v3 = "", v4 = ""] = all;
  for (const revision of [v2, v3]) {
    await world.jump(revision);
    await machine.sync();
  }
  await machine.jump("site", revisionWord(v1).revision);
  await world.purge(v1);
  await machine.sync();
  assert.equal(pageOf(machine), "v1");
  await world.jump(v4);
  await machine.sync();
  assert.equal(pageOf(machine), "v4");
  assert.ok(!(await machine.revisions("site")).includes(v1));
  assert.ok(machine.scripts().includes("ran pre-remove of v1"));
});

test("a package whose only revision is purged before it was ordered goes from machines, and may come back", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["site"]);
  const only = await world.spool("site", scripts("v1"));
  await machine.sync();
  await world.purge(only);
  assert.equal((await machine.sync()).isDone, true);
  assert.deepEqual(await machine.revisions("site"), []);
  assert.deepEqual(machine.scripts(), ["ran post-sync of v1", "ran pre-remove of v1"]);
  const again = await world.spool("site", scripts("v1"));
  await machine.sync();
  assert.deepEqual(
    revsOf(machine, "site").map((id) => id.slice(0, 8)),
    [again.slice(-8)],
  );
  assert.equal(machine.scripts().at(-1), "ran post-sync of v1", "what came anew is made ready anew");
});

test("files, links and strange folders in the root harm nothing; each package stands for itself", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["my_site", "other", "9"]);
  writeFileSync(path.join(machine.root, "stray"), "x");
  symlinkSync("/nowhere", path.join(machine.root, "dangling"));
  mkdirSync(path.join(machine.root, ".git"));
  await world.jump(
    await world.spool("my_site", { version: "v1", "post-jump.sh": "echo $FTL_PACKAGE in $FTL_ROOT" }),
  );
  await world.jump(await world.spool("other", { "pre-jump.sh": "exit 1" }));
  const { packages } = await machine.sync();
  assert.deepEqual(
    packages.map((one) => [one.package, one.active !== null]),
    [
      ["my_site", true],
      ["other", false],
    ],
  );
  assert.ok(
    machine.said.some((line) => line.includes(`my_site in ${machine.root}`)),
    machine.said.join("\n"),
  );
  assert.equal(packages[0]?.troubles.length, 0);
  assert.notEqual(packages[1]?.troubles.length, 0);
});

test("a poll that finds nothing new is one conditional read, whatever the number of packages (long)", async (t) => {
  const world = await bucketWorld(t);
  const names = Array.from({ length: 4 }, (_, n) => `site-${n}`);
  for (const name of names) await world.jump(await world.spool(name, { version: "v1" }));
  const { store, calls } = counted(world.bucket.documents);
  const machine = world.machine("m", names, { bucket: { ...world.bucket, documents: store } });
  await machine.sync();
  calls.length = 0;
  assert.equal((await machine.sync()).isDone, true);
  assert.deepEqual(calls, ["read root.json"]);
  await world.jump(await world.spool("site-3", { version: "v2" }));
  calls.length = 0;
  await machine.sync();
  assert.deepEqual(calls.slice(0, 1), ["read root.json"]);
  assert.ok(calls.length <= 4, calls.join(", "));
});

test("staying, it polls again and again, and acts when something is new", async (t) => {
  const world = await bucketWorld(t);
  const { store, calls } = counted(world.bucket.documents);
  const stop = new AbortController();
  // It counts the waits, and waits less.
  const waits: number[] = [];
  let setBackMs = 0;
  const clock: Clock = {
    now: () => Date.now() - setBackMs,
    sleep: async (ms, signal) => {
      waits.push(ms);
      await systemClock.sleep(5, signal);
    },
  };
  const tools = { bucket: { ...world.bucket, documents: store }, clock, signal: stop.signal };
  const machine = world.machine("m", ["site"], tools);
  await world.jump(await world.spool("site", { version: "v1" }));
  let results = 0;
  const running = syncForever(machine.root, 30_000, machine.tools, () => (results += 1));
  await eventually("its first turn", () => results >= 1);
  calls.length = 0;
  await eventually("three more questions", () => calls.length >= 3);
  assert.deepEqual(new Set(calls), new Set(["read root.json"]));
  assert.ok(waits.every((ms) => ms >= 22_500 && ms <= 37_500) && new Set(waits).size > 1, "jittered");
  await world.jump(await world.spool("site", { version: "v2" }));
  await eventually("the second version", () => results >= 2 && pageOf(machine) === "v2");
  calls.length = 0;
  await eventually("quiet", () => calls.filter((call) => call === "read root.json").length >= 6);
  const before = results;
  setBackMs = 3_600_000;
  await eventually("a turn as soon as the clock was set back", () => results > before);
  stop.abort();
  await running;
});

test("an order whose publisher died before it wrote the root arrives with a look at the listing", async (t) => {
  const world = await bucketWorld(t);
  const clock = fakeClock(Date.now() + 60_000);
  const machine = world.machine("m", ["site"], { clock });
  const root = path.join(world.bucketDir, "root.json");
  await world.jump(await world.spool("site", { version: "v1" }));
  await machine.sync();
  copyFileSync(root, `${root}.before`);
  await world.jump(await world.spool("site", { version: "v2" }));
  copyFileSync(`${root}.before`, root);
  await machine.sync();
  assert.equal(pageOf(machine), "v1");
  clock.advance(3_600_001);
  const { packages } = await machine.sync();
  assert.equal(pageOf(machine), "v2");
  assert.deepEqual(packages[0]?.troubles, []);
});

async function copied(from: string, to: string): Promise<void> {
  rmSync(to, { recursive: true, force: true });
  await once(spawn("cp", ["-a", from, to]), "close");
}

test("a bucket that was set back is noticed and said; what runs goes on", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["site"]);
  await world.jump(await world.spool("site", { version: "v1" }));
  const aside = path.join(world.dir, "yesterday");
  await copied(world.bucketDir, aside);
  await world.jump(await world.spool("site", { version: "v2" }));
  await machine.sync();
  await copied(aside, world.bucketDir);
  const { packages, isDone } = await machine.sync();
  assert.deepEqual([isDone, packages[0]?.troubles.map(({ code }) => code)], [false, ["BUCKET_STALE"]]);
  assert.equal(pageOf(machine), "v2");
  rmSync(path.join(world.bucketDir, "orders"), { recursive: true });
  rmSync(path.join(world.bucketDir, "root.json"));
  assert.deepEqual(
    (await machine.sync()).packages[0]?.troubles.map(({ code }) => code),
    ["BUCKET_STALE"],
  );
});

test("what a sync that was killed left half written goes with the next one", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["site"]);
  await world.jump(await world.spool("site", { version: "v1" }));
  const left = [".skein/poll.json", "site/.skein/owner.json", "site/.skein/state/node.json"].map((name) =>
    path.join(machine.root, `${name}.0123456789ab.tmp`),
  );
  for (const file of left) {
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, "half");
    utimesSync(file, new Date(0), new Date(0));
  }
  assert.equal((await machine.sync()).isDone, true);
  assert.deepEqual(
    left.filter((file) => existsSync(file)),
    [],
  );
});

test("what another sync took in since the bucket was looked at is no sign that it was set back", async (t) => {
  const world = await bucketWorld(t);
  const other = world.machine("m", ["site"]);
  const v1 = await world.spool("site", { version: "v1" });
  const v2 = await world.spool("site", { version: "v2" });
  await world.jump(v1);
  await other.sync();
  const { documents } = world.bucket;
  let looks = 0;
  const read: typeof documents.read = async (name, ...rest) => {
    const found = await documents.read(name, ...rest);
    if (name !== ROOT_NAME || (looks += 1) > 1) return found;
    await world.jump(v2);
    assert.equal((await other.sync()).isDone, true);
    return found;
  };
  const late = world.machine("m", ["site"], {
    bucket: { ...world.bucket, documents: { ...documents, read } },
  });
  const { packages, isDone } = await late.sync();
  assert.deepEqual([isDone, packages[0]?.troubles, pageOf(late)], [true, [], "v2"]);
});

test("what is ordered after a bucket was set back reaches who had seen more, and who had not", async (t) => {
  const world = await bucketWorld(t);
  const [ahead, behind] = [world.machine("ahead", ["site"]), world.machine("behind", ["site"])];
  const v1 = await world.spool("site", { version: "v1" });
  await world.jump(v1);
  await behind.sync();
  const aside = path.join(world.dir, "yesterday");
  await copied(world.bucketDir, aside);
  await world.jump(await world.spool("site", { version: "v2" }));
  await world.jump(await world.spool("site", { version: "v3" }));
  await ahead.sync();
  await copied(aside, world.bucketDir);

  const codes = async (): Promise<unknown> =>
    (await Promise.all([ahead.sync(), behind.sync()])).map(({ packages }) => packages[0]?.troubles);
  assert.equal(await world.jump(v1), 5, "it is active by what the bucket says, and not where more was seen");
  assert.deepEqual([await codes(), pageOf(ahead), pageOf(behind)], [[[], []], "v1", "v1"]);
  assert.equal(await world.jump(await world.spool("site", { version: "v4" })), 6);
  assert.deepEqual([await codes(), pageOf(ahead), pageOf(behind)], [[[], []], "v4", "v4"]);
});

/** A bucket that was set back behind what a machine has seen, and an operator's machine that knows nothing of it. */
async function lostOrder(t: TestContext, clock: Clock) {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["site"], { clock });
  const [v1, v2, v3] = [
    await world.spool("site", { version: "v1" }),
    await world.spool("site", { version: "v2" }),
    await world.spool("site", { version: "v3" }),
  ];
  await world.jump(v1);
  const aside = path.join(world.dir, "yesterday");
  await copied(world.bucketDir, aside);
  await world.jump(v2);
  await machine.sync();
  await copied(aside, world.bucketDir);
  const { paths } = await world.operator();
  rmSync(path.join(operatorDir(paths), "in-bucket"), { recursive: true });
  const codes = async (): Promise<readonly string[]> =>
    ((await machine.sync()).packages[0]?.troubles ?? []).map(({ code }) => code);
  return { world, machine, v3, codes };
}

test("another order under the serial of the one that a machine follows is told, until the next one (long)", async (t) => {
  const { world, machine, v3, codes } = await lostOrder(t, systemClock);
  await world.spool("site", { version: "v4" });
  assert.equal(await world.jump(v3), 2, "the lost one's serial");
  const seen = [await codes(), await codes(), pageOf(machine)];
  assert.deepEqual(seen, [["ORDER_EQUIVOCATION"], ["ORDER_EQUIVOCATION"], "v2"]);
  const again = { env: "default", again: true, selector: "all", spreadMs: 0, signal: t.signal };
  await jumpMaster(await world.operator(), revisionWord(v3), again);
  assert.deepEqual([await codes(), pageOf(machine)], [[], "v3"]);
});

test("such an order is told within the hour where the bucket reads as it did before (long)", async (t) => {
  const clock = fakeClock(Date.now() + 60_000);
  const { world, machine, v3, codes } = await lostOrder(t, clock);
  await world.jump(v3);
  assert.deepEqual(await codes(), [], "its root is what the machine has read");
  clock.advance(3_600_001);
  assert.deepEqual([await codes(), pageOf(machine)], [["ORDER_EQUIVOCATION"], "v2"]);
});

test("a bucket that shows the same for ever is noticed by its age, until something is signed anew", async (t) => {
  const world = await bucketWorld(t);
  const clock = fakeClock(Date.now() + 60_000);
  const machine = world.machine("m", ["site"], { clock, maxAgeMs: 86_400_000 });
  const v1 = await world.spool("site", scripts("v1"));
  await world.jump(v1);
  assert.equal((await machine.sync()).isDone, true);
  clock.advance(2 * 86_400_000);
  const codes = async (): Promise<string[]> =>
    ((await machine.sync()).packages[0]?.troubles ?? []).map(({ code }) => code);
  assert.deepEqual(await codes(), ["BUCKET_STALE"]);
  const ran = machine.scripts().length;
  const later = await world.operator();
  const options = { env: "default", selector: "all", spreadMs: 0, again: true, signal: t.signal };
  await jumpMaster({ ...later, clock }, revisionWord(v1), options);
  assert.deepEqual(await codes(), []);
  assert.equal(machine.scripts().length, ran, "nothing runs again");
});

test("where the bucket does not answer, what this machine knows is still brought about", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["site"]);
  await world.jump(await world.spool("site", { version: "v1" }));
  await machine.sync();
  rmSync(path.join(machine.root, "site", "current"));
  const away = async (): Promise<never> => await Promise.reject(new Error("no route"));
  const documents = { ...world.bucket.documents, read: away };
  const cut = world.machine("m", [], { bucket: { ...world.bucket, documents } });
  const { unread, isDone } = await cut.sync();
  assert.deepEqual([unread?.message, isDone], ["no route", false]);
  assert.equal(pageOf(machine), "v1");
});

test("a machine without a name takes no order that is for some, reads it once, and has what was for all (long)", async (t) => {
  const world = await bucketWorld(t);
  await world.jump(await world.spool("site", { version: "v1" }), { selector: "all" });
  await world.jump(await world.spool("site", { version: "v2" }), { selector: "role=web" });
  await world.jump(await world.spool("site", { version: "v3" }), { selector: "role=db" });
  const { store, calls } = counted(world.bucket.documents);
  const machine = world.machine("m", ["site"], { bucket: { ...world.bucket, documents: store } });
  const { packages, isDone } = await machine.sync();
  assert.deepEqual([packages[0]?.troubles, isDone], [[], true]);
  assert.equal(pageOf(machine), "v1", "the newest order that is for it");
  assert.ok(machine.said.some((line) => line.includes("for other machines")));
  calls.length = 0;
  assert.equal((await machine.sync()).isDone, true);
  assert.deepEqual(calls, ["read root.json"]);
});

test("nobody is trusted at first sight, and no other cluster afterwards", async (t) => {
  const world = await bucketWorld(t);
  await world.jump(await world.spool("site", { version: "v1" }));
  for (const pin of [null, "a".repeat(64) as BucketWorld["pin"]]) {
    const machine = world.machine("fresh", ["site"], { pin });
    const { packages } = await machine.sync();
    assert.deepEqual(
      packages[0]?.troubles.map(({ code }) => code),
      ["CHARTER_PIN"],
    );
    assert.equal(machine.current("site"), undefined);
  }
  const machine = world.machine("m", ["site"]);
  await machine.sync();
  const again = world.machine("m", ["site"], { pin: null });
  assert.deepEqual((await again.sync()).packages[0]?.troubles, [], "pinned once is pinned for good");
});

test("what runs processes needs an agent; what only looks so is files", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["site", "looks"]);
  await world.jump(await world.spool("site", { "skein.yaml": "app: site\nrun: ./x\n", x: "x:#!/bin/sh\n" }));
  await world.jump(await world.spool("looks", { "server.js": "process.exit(1)", version: "v1" }));
  const { packages } = await machine.sync();
  assert.deepEqual(
    packages.map((one) => [one.active !== null, one.troubles.map(({ code }) => code)]),
    [
      [true, []],
      [false, ["NEEDS_AGENT"]],
    ],
  );
});

test("a spread order waits for this machine's own moment, and sync says when", async (t) => {
  const world = await bucketWorld(t);
  const clock = fakeClock(Date.now());
  const machine = world.machine("m", ["site"], { clock });
  await world.jump(await world.spool("site", { version: "v1" }), { spreadMs: 3_000_000 });
  const { packages, isDone } = await machine.sync();
  const [site] = packages;
  assert.ok(site !== undefined && site.startsMs !== null && site.startsMs > clock.now());
  assert.deepEqual([isDone, machine.current("site"), site.troubles], [false, undefined, []]);
  clock.advance(3_000_000);
  assert.equal((await machine.sync()).isDone, true);
  assert.equal(pageOf(machine), "v1");
});

test("root writes in no folder that others may write in", { skip: process.getuid?.() !== 0 }, async (t) => {
  const world = await bucketWorld(t);
  await world.jump(await world.spool("site", { version: "v1" }));
  const machine = world.machine("m", ["site"]);
  const site = path.join(machine.root, "site");
  const codes = async (): Promise<string[]> =>
    ((await machine.sync()).packages[0]?.troubles ?? []).map(({ code }) => code);
  chmodSync(site, 0o777);
  assert.deepEqual(await codes(), ["USER_REFUSED"]);
  chmodSync(site, 0o755);
  chownSync(site, 12_345, 12_345);
  assert.deepEqual(await codes(), ["USER_REFUSED"]);
  assert.deepEqual(readdirSync(site), []);
  chownSync(site, 0, 0);
  assert.deepEqual(await codes(), []);
});

test(
  "root syncs in no folder on whose way, or in whose state, others may lay a link",
  { skip: process.getuid?.() !== 0 },
  async (t) => {
    const world = await bucketWorld(t);
    const machine = world.machine("m", ["site"]);
    await world.jump(await world.spool("site", scripts("v1", {})));
    const codes = async (): Promise<string[]> =>
      ((await machine.sync()).packages[0]?.troubles ?? []).map(({ code }) => code);
    const above = path.dirname(machine.root);
    chownSync(above, 12_345, 12_345);
    assert.deepEqual(await codes(), ["USER_REFUSED"], "who may put another folder in the root's place");
    chownSync(above, 0, 0);
    const revs = path.join(machine.root, "site/revs");
    mkdirSync(revs);
    chownSync(revs, 12_345, 12_345);
    assert.deepEqual(await codes(), ["USER_REFUSED"], "what an earlier owner of the package left");
    rmSync(revs, { recursive: true });
    symlinkSync("/nowhere", revs);
    assert.deepEqual(await codes(), ["USER_REFUSED"]);
    rmSync(revs);
    assert.deepEqual(await codes(), []);
  },
);

test(
  "a post-sync has the data for as long as it runs (long)",
  { skip: process.getuid?.() !== 0 },
  async (t) => {
    const world = await bucketWorld(t);
    const machine = world.machine("m", ["site"]);
    const writing = (version: string, user: string, more = "") => ({
      ...scripts(version, { "post-sync": `echo ${version} > "$SKEIN_DATA/${version}"\n${more}` }),
      "skein.yaml": `app: site\nkind: files\nuser: ${user}\n`,
    });
    const data = packagePlace(machine.root, "site").folders.data;
    const owners = (): number[] =>
      ["", ...readdirSync(data)].map((name) => lstatSync(path.join(data, name)).uid);
    const codes = async (): Promise<string[]> =>
      ((await machine.sync()).packages[0]?.troubles ?? []).map(({ code }) => code);
    await world.jump(await world.spool("site", writing("v1", "auto")));
    assert.deepEqual(await codes(), []);
    const own = lstatSync(data).uid;
    assert.ok(own >= 70_000);
    const v2 = await world.spool("site", writing("v2", "nobody"));
    assert.deepEqual(await codes(), []);
    assert.deepEqual(owners(), [own, own, own], "v1 is active, and has its data");
    const failing = await world.spool("site", writing("v3", "nobody", "exit 9"));
    assert.deepEqual(await codes(), ["HOOK_FAILED"]);
    await assert.rejects(machine.jump("site", revisionWord(failing).revision), { code: "HOOK_FAILED" });
    assert.deepEqual(owners(), [own, own, own, own]);
    await machine.jump("site", revisionWord(v2).revision);
    assert.deepEqual(new Set(owners()), new Set([lstatSync(path.join(data, "v1")).uid]));
    assert.notEqual(lstatSync(data).uid, own);
  },
);

test("two syncs at once take turns: each script runs once, and both end well (long)", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["site"]);
  await world.jump(await world.spool("site", scripts("v1", { "post-sync": "sleep 0.3" })));
  const both = [child(world, machine), child(world, machine)];
  const said = (await Promise.all(both.map(async (one) => await text(one.stdout)))).join("");
  for (const one of both) if (one.exitCode === null) await once(one, "close");
  assert.deepEqual(
    both.map(({ exitCode }) => exitCode),
    [0, 0],
    said,
  );
  assert.equal(said.split("| ran post-sync of v1").length, 2, said);
  assert.equal(said.split("| ran post-jump of v1").length, 2, said);
});

/** It outlives whoever runs it, and ends with the test's folder. */
const untilRemoved = 'while [ -e "$PWD" ]; do sleep 0.1; done';

test("who waits too long is told who it is; a holder that died holds nothing (long)", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["site"], { waitMs: 50 });
  await world.jump(await world.spool("site", scripts("v1", { "post-sync": untilRemoved })));
  const holder = child(world, machine);
  atEnd(t, () => holder.kill("SIGKILL"));
  for await (const piece of holder.stdout) if (String(piece).includes("ran post-sync")) break;
  const held = (await machine.sync()).packages[0]?.troubles[0];
  assert.equal(held?.code, "LOCK_HELD");
  assert.match(held?.message ?? "", new RegExp(`worked on by sync \\(process ${holder.pid}, since .*Z\\)`));
  holder.kill("SIGKILL");
  await once(holder, "close");
  const place = packagePlace(machine.root, "site");
  (await takeTurn(place, { command: "test", waitMs: 5000, clock: systemClock, signal: t.signal }))[
    Symbol.dispose
  ]();
});

test("whoever reads a package cannot hold up who changes it", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["site"]);
  await world.jump(await world.spool("site", scripts("v1", {})));
  await machine.sync();
  const lock = path.join(packagePlace(machine.root, "site").folders.app, ".lock");
  assert.equal(lstatSync(lock).mode & 0o777, 0o600, "a lock is taken by whoever may read the file");
});

const FAULTS = [
  "subscriber.taken-in",
  "install.renamed",
  "subscriber.fetched",
  "subscriber.post-synced",
  "subscriber.ready",
  "agent.begun",
  "agent.hooked-pre-jump",
  "agent.flipped",
  "agent.finished",
  "subscriber.converged",
  "install.moved",
  "install.unrecorded",
] as const;

test("killed anywhere, the next sync goes on and ends with the order carried out (long)", async (t) => {
  const world = await bucketWorld(t);
  const first = world.machine("first", ["site"]);
  const old = await world.spool("site", { version: "old" });
  await world.jump(await world.spool("site", scripts("v1")));
  await first.sync();
  await first.jump("site", revisionWord(old).revision);
  const machines = FAULTS.map((fault) => {
    cpSync(path.join(world.dir, "first"), path.join(world.dir, fault), {
      recursive: true,
      verbatimSymlinks: true,
    });
    return world.machine(fault, []);
  });
  // The order is what they die over; the purge makes them remove something too.
  await world.jump(await world.spool("site", scripts("v2")));
  await world.purge(old);
  await Promise.all(
    machines.map(async (machine, n) => {
      const fault = FAULTS[n];
      const run = child(world, machine, fault);
      const said = text(run.stdout);
      const [, signal] = (await once(run, "close")) as [number | null, string | null];
      assert.equal(signal, "SIGKILL", `${fault}: ${await said}`);
    }),
  );
  for (const [n, machine] of machines.entries()) {
    const fault = FAULTS[n] ?? "";
    const { packages, isDone } = await machine.sync();
    assert.deepEqual([packages[0]?.troubles, isDone], [[], true], fault);
    assert.equal(pageOf(machine), "v2", fault);
    assert.equal(revsOf(machine, "site").length, (await machine.revisions("site")).length, fault);
  }
});

test("killed anywhere in a jump here, the next sync ends it, and holds what was asked for (long)", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["site"]);
  await world.jump(await world.spool("site", scripts("ordered")));
  const asked = await world.spool("site", scripts("asked"));
  for (const fault of ["subscriber.held", "agent.hooked-pre-jump", "agent.flipped"]) {
    await machine.sync();
    assert.equal(pageOf(machine), "ordered", fault);
    const run = child(world, machine, fault, "site", revisionWord(asked).revision);
    const said = text(run.stdout);
    const [, signal] = (await once(run, "close")) as [number | null, string | null];
    assert.equal(signal, "SIGKILL", `${fault}: ${await said}`);
    const { packages, isDone } = await machine.sync();
    const [{ held, troubles } = assert.fail()] = packages;
    assert.deepEqual([pageOf(machine), `site.${held}`, troubles, isDone], ["asked", asked, [], true], fault);
    await machine.jump("site", null);
  }
});

test("neither a jump here nor a sync removes what the next sync would fetch again (long)", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["site"]);
  const older: string[] = [];
  for (let n = 0; n < 6; n++) older.push(await world.spool("site", { version: `older ${n}` }));
  await world.jump(await world.spool("site", { version: "ordered" }));
  await machine.sync();
  const since = await world.spool("site", { version: "since" });
  await machine.sync();
  for (const revision of older) await machine.jump("site", revisionWord(revision).revision);
  assert.ok((await machine.revisions("site")).includes(since), "after a jump");
  await world.jump(older.at(-1) ?? "");
  await machine.sync();
  await machine.sync();
  const fetched = machine.said.filter((line) => line.includes(since.slice(-8)));
  assert.match(fetched.join("\n"), /^site: fetched [0-9a-f]{8} {2}directory \d+ B$/);
});

test(
  "a file that cannot be removed is told by one sync, and holds up nothing that it should do (long)",
  sticking,
  async (t) => {
    const world = await bucketWorld(t);
    const machine = world.machine("m", ["site"]);
    const old: string[] = [];
    for (const version of ["v1", "v2", "v3"]) {
      old.push(await world.spool("site", { version }));
      await world.jump(old.at(-1) ?? "");
      await machine.sync();
    }
    const last = await world.spool("site", { version: "v4" });
    await world.jump(last);
    await machine.sync();
    const files = revsOf(machine, "site").map((id) => path.join(machine.root, "site/revs", id, "version"));
    const stuck = files.find((file) => readFileSync(file, "utf8") === "v1") ?? assert.fail("v1 is not here");
    stick(t, "i", stuck, machine.root);
    for (const revision of old.slice(0, 2)) await world.purge(revision);
    const { packages, isDone } = await machine.sync();
    assert.equal(isDone, true);
    const [trouble, ...others] = packages[0]?.troubles ?? [];
    assert.deepEqual(others, []);
    assert.match(trouble?.message ?? "", /version cannot be removed: EPERM$/);
    assert.deepEqual(await machine.revisions("site"), [old[2], last]);
    for (let n = 0; n < 2; n++) {
      const again = await machine.sync();
      assert.deepEqual([again.isDone, again.packages[0]?.troubles], [true, []]);
    }
  },
);

test("a purge or a jump in the middle of a sync leaves a machine that the next sync brings home", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["site"]);
  const first = await world.spool("site", { version: "v1" });
  await world.spool("site", { version: "v2" });
  const third = await world.spool("site", { version: "v3" });
  await world.jump(third);
  let purged: Promise<void> | undefined;
  const depot = await openBucket(world.bucket.name, { env: {}, writing: false, signal: t.signal });
  const documents = {
    ...depot.documents,
    read: async (...words: Parameters<typeof depot.documents.read>) => {
      const found = await depot.documents.read(...words);
      if (words[0] === "root.json") await (purged ??= world.purge(first));
      return found;
    },
  };
  const slow = world.machine("m", [], { bucket: { ...depot, documents } });
  assert.deepEqual((await slow.sync()).packages[0]?.troubles, []);
  assert.equal((await machine.sync()).isDone, true);
  assert.equal(pageOf(machine), "v3");
});

test("a package may be called like what every object has", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["constructor"]);
  const before = await machine.sync();
  assert.deepEqual(before.packages[0]?.troubles, [], "nothing was spooled yet");
  const v1 = await world.spool("constructor", scripts("v1"));
  await world.jump(v1);
  await machine.sync();
  await assert.rejects(world.purge(v1), { code: "REVISION_ACTIVE" });
  assert.deepEqual(await machine.revisions("constructor"), [v1]);
});

test("a bucket that fails after its root was read holds up nothing that is known, and hides nothing that was done (long)", async (t) => {
  const world = await bucketWorld(t);
  const v1 = await world.spool("site", scripts("v1"));
  await world.jump(v1);
  const { documents } = world.bucket;
  let failing = "";
  const fails = (name: string): void => {
    if (failing !== "" && name.startsWith(failing))
      throw new SkeinError("DEPOT_DENIED", `${failing} is not to be read`);
  };
  const machine = world.machine("m", ["site"], {
    bucket: {
      ...world.bucket,
      documents: {
        ...documents,
        read: async (name, etag, signal) => {
          fails(name);
          return await documents.read(name, etag, signal);
        },
        async *list(prefix, signal) {
          fails(prefix);
          yield* documents.list(prefix, signal);
        },
      },
    },
  });
  failing = "releases/";
  const first = await machine.sync();
  const codes = ({ packages: [one] }: typeof first) => (one?.troubles ?? []).map(({ code }) => code);
  assert.deepEqual([first.packages[0]?.changed, `site.${first.packages[0]?.active}`], [true, v1]);
  assert.deepEqual([codes(first), first.isDone], [["DEPOT_DENIED"], false]);
  failing = "orders/";
  await world.jump(await world.spool("site", scripts("v2")));
  rmSync(path.join(machine.root, "site/current"));
  const second = await machine.sync();
  assert.deepEqual([pageOf(machine), codes(second), second.isDone], ["v1", ["DEPOT_DENIED"], false]);
  failing = "";
  await machine.sync();
  assert.equal(pageOf(machine), "v2");
});

test("of several documents of one release any good one will do, whatever else lies there by its id (long)", async (t) => {
  const world = await bucketWorld(t);
  const { documents } = world.bucket;
  const machine = world.machine("m", ["site"]);
  const v1 = await world.spool("site", scripts("v1"));
  const [name = assert.fail()] = await namesUnder(documents, "releases/site/", t.signal);
  const { id = assert.fail() } = releasePlaceOf(name) ?? {};
  const found = await documents.read(name, undefined, t.signal);
  if (found === undefined || found === "same") assert.fail();
  await world.jump(await world.spool("site", scripts("v2")));
  await machine.sync();
  assert.ok(!(await machine.revisions("site")).includes(v1), "it was old");
  // As another publisher of the same content would, and as nobody of the cluster would.
  await documents.write(`releases/site/20200101000000001-${id}.json`, found.bytes, {}, t.signal);
  await documents.write(`releases/site/20200101000000000-${id}.json`, Buffer.from("{"), {}, t.signal);
  await documents.write(
    `releases/site/29990101000000000-${"f".repeat(32)}.json`,
    Buffer.from("{"),
    {},
    t.signal,
  );
  await remakeRoot({ documents, clock: systemClock, signal: t.signal });
  const { active } = await machine.jump("site", id);
  assert.equal(`site.${active}`, v1);
  assert.ok((await world.jump(`site@${id}`)) !== null);
  const look = await readRoot(documents, undefined, t.signal);
  assert.deepEqual(
    await masterPackages(world.bucket, look === "same" ? assert.fail() : look.root, t.signal),
    ["site"],
  );
});

test("a revision that may be any of several in the bucket is told so", async (t) => {
  const world = await bucketWorld(t);
  const { documents } = world.bucket;
  const machine = world.machine("m", ["site"]);
  await world.jump(await world.spool("site", scripts("v1")));
  await machine.sync();
  for (const digit of ["1", "2"])
    await documents.write(
      `releases/site/20190101000000000-${digit.repeat(32)}.json`,
      Buffer.from("{"),
      {},
      t.signal,
    );
  await assert.rejects(machine.jump("site", "2019"), { code: "AMBIGUOUS" });
});
