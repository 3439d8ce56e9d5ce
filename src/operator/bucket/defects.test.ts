/** What FTL was known to do wrong, one test each; the numbers are those of its list of defects. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { readRoot } from "../../bucket/entries.ts";
import { orderName, orderPlaceOf, releasePlace, revisionWord } from "../../bucket/layout.ts";
import { publishOrder, publishRelease } from "../../bucket/publish.ts";
import type { Bucket } from "../../bucket/bucket.ts";
import { systemClock } from "../../lib/time/clock.ts";
import type { SkeinError } from "../../lib/errors/errors.ts";
import { isReleaseId } from "../../lib/text/ids.ts";
import { seal } from "../../trust/document/envelope.ts";
import { generateSigner } from "../../trust/keys/keys.ts";
import { readBucketLine } from "./bucket-line.ts";
import { bucketWorld, scripts } from "./bucket-world.fixture.ts";
import { jumpMaster, masterRevisions } from "./master.ts";

const codes = (troubles: readonly SkeinError[]): string[] => troubles.map(({ code }) => code);

test("1: a damaged object is never activated, and the next sync takes the mended one", async (t) => {
  const world = await bucketWorld(t);
  const v1 = await world.spool("site", { page: "one" });
  await world.jump(v1);
  const machine = world.machine("m", ["site"]);
  const packs = path.join(world.bucketDir, "blobs", "packs");
  const [pack = ""] = readdirSync(packs);
  const good = readFileSync(path.join(packs, pack));
  writeFileSync(path.join(packs, pack), Buffer.from(good.map((byte, n) => (n === 20 ? byte ^ 1 : byte))));
  for (let n = 0; n < 2; n++) {
    const { packages, isDone } = await machine.sync();
    assert.equal(isDone, false);
    assert.equal(packages[0]?.troubles.length, 1);
    assert.equal(machine.current("site"), undefined);
    assert.deepEqual(await machine.revisions("site"), []);
  }
  writeFileSync(path.join(packs, pack), good);
  const { packages, isDone } = await machine.sync();
  assert.deepEqual([packages[0]?.troubles, isDone], [[], true]);
  assert.equal(readFileSync(path.join(machine.root, "site/current/page"), "utf8"), "one");
});

test("2: what fails its post-sync is not jumped to, at no sync and by no hand", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["site"]);
  const v1 = await world.spool("site", scripts("v1"));
  await world.jump(v1);
  await machine.sync();
  const was = machine.current("site");
  const bad = await world.spool("site", scripts("bad", { "post-sync": "exit 3" }));
  await world.jump(bad);
  for (let n = 0; n < 2; n++) {
    const { packages } = await machine.sync();
    assert.deepEqual(codes(packages[0]?.troubles ?? []), ["HOOK_FAILED"]);
    assert.match(packages[0]?.troubles[0]?.message ?? "", /post-sync: exit status 3/);
    assert.equal(machine.current("site"), was);
  }
  await assert.rejects(machine.jump("site", revisionWord(bad).revision), { code: "HOOK_FAILED" });
  assert.equal(machine.current("site"), was);
  assert.ok(!machine.scripts().includes("ran pre-jump of bad"));
});

test("3: the active and the previous revision are not purged; another one is, everywhere", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["site"]);
  const revisions: string[] = [];
  for (const version of ["v1", "v2", "v3"]) {
    const revision = await world.spool("site", scripts(version));
    revisions.push(revision);
    await world.jump(revision);
    await machine.sync();
  }
  const [first = "", second = "", third = ""] = revisions;
  for (const refused of [third, second]) {
    await assert.rejects(world.purge(refused), { code: "REVISION_ACTIVE" });
  }
  await world.purge(first);
  const { packages } = await machine.sync();
  assert.deepEqual(packages[0]?.troubles, []);
  assert.deepEqual(await machine.revisions("site"), [second, third]);
  assert.ok(machine.scripts().includes("ran pre-remove of v1"));
  await assert.rejects(world.purge(first), { code: "RELEASE_NOT_FOUND" });
});

test("3: a revision that only some machines run, or another environment, is active, whatever the root says", async (t) => {
  const world = await bucketWorld(t);
  const { documents } = world.bucket;
  const [all, web, db, prod] = [
    await world.spool("site", scripts("all")),
    await world.spool("site", scripts("web")),
    await world.spool("site", scripts("db")),
    await world.spool("site", scripts("prod")),
  ];
  await world.jump(all);
  await world.jump(web, { selector: "role=web" });
  for (let n = 0; n < 2; n++) await world.jump([db, web][n] ?? "", { selector: `role=db${n}` });
  const before = await documents.read("root.json", undefined, t.signal);
  if (before === undefined || before === "same") assert.fail();
  const options = { env: "prod", selector: "all", spreadMs: 0, signal: t.signal };
  await jumpMaster(await world.operator(), revisionWord(prod), options);
  await documents.write("root.json", before.bytes, {}, t.signal);
  for (const [refused, message] of [
    [all, /is active$/],
    [db, /is active on role=db0$/],
    [prod, /is active in prod$/],
  ] as const)
    await assert.rejects(world.purge(refused), { code: "REVISION_ACTIVE", message });
  await world.jump(web);
  await world.jump(db);
  await world.purge(all);
});

test("4: going back runs every script, and no sync undoes it", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["site"]);
  for (const version of ["v1", "v2"]) {
    await world.jump(await world.spool("site", scripts(version)));
    await machine.sync();
  }
  machine.said.length = 0;
  await machine.jump("site", null);
  const back = ["ran pre-jump of v1", "ran un-jump of v2", "ran post-jump of v1"];
  assert.deepEqual(machine.scripts(), back);
  const current = machine.current("site");
  const { packages } = await machine.sync();
  assert.equal(machine.current("site"), current);
  assert.notEqual(packages[0]?.held, null, "and sync says so");
  assert.ok(machine.said.some((line) => line.includes("held at")));
  await world.jumpBack("site");
  machine.said.length = 0;
  await machine.sync();
  assert.equal(machine.current("site"), current);
  assert.deepEqual(machine.scripts(), [], "it is what the order wants already");
  await world.jumpBack("site");
  await machine.sync();
  assert.deepEqual(machine.scripts(), ["ran pre-jump of v2", "ran un-jump of v1", "ran post-jump of v2"]);
  const late = world.machine("late", ["site"]);
  await late.sync();
  assert.equal(late.current("site"), machine.current("site"));
  await late.jump("site", null);
  assert.equal(late.current("site"), current, "a machine that never ran the one before has it all the same");
});

test("5: a failing un-jump holds nobody where it is, and is told", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["site"]);
  await world.jump(await world.spool("site", scripts("v1", { "un-jump": "exit 9" })));
  await machine.sync();
  const v2 = await world.spool("site", scripts("v2"));
  await world.jump(v2);
  const { packages } = await machine.sync();
  assert.deepEqual(codes(packages[0]?.troubles ?? []), ["HOOK_FAILED"]);
  assert.equal(`site.${packages[0]?.active}`, v2);
  const again = await machine.sync();
  assert.deepEqual([again.isDone, again.packages[0]?.troubles], [true, []]);
});

test("6: there is no moment without current while it jumps", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["site"]);
  const revisions = [await world.spool("site", { v: "1" }), await world.spool("site", { v: "2" })];
  await machine.sync();
  await machine.jump("site", revisionWord(revisions[0] ?? "").revision);
  const watcher = spawn(
    process.execPath,
    [
      "-e",
      `const fs = require("node:fs"); let looks = 0, misses = 0;
       process.on("SIGTERM", () => { process.stdout.write(JSON.stringify({ looks, misses })); process.exit(); });
       const turn = () => { for (let n = 0; n < 2000; n++) { looks++; try { fs.statSync(process.argv[1]); } catch { misses++; } } setImmediate(turn); };
       turn(); process.stdout.write(" ");`,
      path.join(machine.root, "site", "current", "v"),
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  atEnd(t, () => watcher.kill("SIGKILL"));
  let said = "";
  watcher.stdout.on("data", (piece: Buffer) => (said += piece.toString()));
  await once(watcher.stdout, "data");
  for (let n = 1; n <= 8; n++) await machine.jump("site", revisionWord(revisions[n % 2] ?? "").revision);
  watcher.kill("SIGTERM");
  await once(watcher, "close");
  const { looks, misses } = JSON.parse(said) as { looks: number; misses: number };
  assert.ok(looks > 1000, said);
  assert.equal(misses, 0);
});

test("7: whoever can write the bucket can make no machine run anything", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["site"]);
  const v1 = await world.spool("site", { page: "ours" });
  await world.jump(v1);
  await machine.sync();
  const was = machine.current("site");
  const thief = generateSigner();
  const operator = { ...(await world.operator()), signer: thief };
  const tools = { documents: world.bucket.documents, clock: systemClock, signal: t.signal };
  const line = await readBucketLine("site", "default", { ...operator, now: Date.now(), signal: t.signal });
  const { head, entry } = line;
  assert.ok(head !== null && entry !== null);
  // An order of its own, signed with its own key; and the operator's own release under another name.
  const order = await seal("order.1", { ...head.order, seq: 2, prev: head.digest, generation: 9 }, [thief]);
  await publishOrder({ ...entry, order }, tools);
  const [document] = entry.releases;
  assert.ok(document !== undefined);
  const fake = releasePlace("site", Date.now() + 5000, "f".repeat(32) as typeof head.order.release);
  await publishRelease(fake, document, tools);
  const { packages } = await machine.sync();
  assert.ok(codes(packages[0]?.troubles ?? []).includes("DOC_UNSIGNED"));
  assert.ok(codes(packages[0]?.troubles ?? []).includes("ORDER_UNKNOWN_RELEASE"));
  assert.equal(machine.current("site"), was);
  const entries = readdirSync(path.join(machine.root, "site", "revs")).filter(isReleaseId);
  assert.equal(entries.length, 1);
  // The operator's next order overtakes the thief's serial.
  assert.equal(await world.jump(await world.spool("site", { page: "next" })), 3);
  await machine.sync();
  assert.equal(readFileSync(path.join(machine.root, "site/current/page"), "utf8"), "next");
});

test("8: more revisions than one page of a listing has are all there", async (t) => {
  const world = await bucketWorld(t);
  const v1 = await world.spool("site", { page: "one" });
  await world.jump(v1);
  const operator = await world.operator();
  for (let n = 0; n < 1200; n++) {
    const id = n.toString(16).padStart(32, "a");
    assert.ok(isReleaseId(id));
    const { stamp } = releasePlace("site", 1_500_000_000_000 + n * 1000, id);
    writeFileSync(path.join(world.bucketDir, `releases/site/${stamp}-${id}.json`), "{}");
  }
  const revisions = await masterRevisions("site", { ...operator, env: "default", signal: t.signal });
  assert.equal(revisions.length, 1201);
  assert.equal(revisions.at(-1)?.state, "active");
});

test("9: of two who jump at once one is told, and what was active before is remembered", async (t) => {
  const world = await bucketWorld(t);
  const revisions: string[] = [];
  for (const version of ["v1", "v2", "v3"]) revisions.push(await world.spool("site", { version }));
  const [first = "", second = "", third = ""] = revisions;
  await world.jump(first);
  const options = { env: "default", selector: "all", spreadMs: 0, signal: t.signal };
  // Both have read the line before either writes.
  const both = [await world.operator(), await world.operator()];
  const ended = await Promise.allSettled(
    [second, third].map(
      async (word, n) => await jumpMaster(both[n] ?? assert.fail(), revisionWord(word), options),
    ),
  );
  const lost = ended.filter(({ status }) => status === "rejected");
  for (const one of lost) assert.equal((one as PromiseRejectedResult).reason.code, "HEAD_MOVED");
  const { root } = (await readRoot(world.bucket.documents, undefined, t.signal)) as Exclude<
    Awaited<ReturnType<typeof readRoot>>,
    "same"
  >;
  const head = orderPlaceOf(root.apps["site"]?.orders["default"] ?? "");
  assert.equal(head?.seq, 3 - lost.length);
  await world.jumpBack("site");
  const operator = await world.operator();
  const seen = await masterRevisions("site", { ...operator, env: "default", signal: t.signal });
  assert.equal(seen.filter(({ state }) => state === "active").length, 1);
  assert.equal(seen.filter(({ state }) => state === "previous").length, 1);
  assert.ok(existsSync(path.join(world.bucketDir, orderName(head ?? assert.fail()))), "the history stays");
});

test("10: a machine only reads: its credentials need no more", async (t) => {
  const world = await bucketWorld(t);
  const refuse = async (): Promise<never> => await Promise.reject(new Error("a machine wrote"));
  const readOnly: Bucket = {
    ...world.bucket,
    documents: { ...world.bucket.documents, write: refuse, delete: refuse },
    depot: { ...world.bucket.depot, put: refuse, delete: refuse },
  };
  const machine = world.machine("m", ["site"], { bucket: readOnly });
  await world.jump(await world.spool("site", scripts("v1")));
  assert.equal((await machine.sync()).isDone, true);
  await machine.jump("site", (await machine.revisions("site"))[0]?.split(".")[1] ?? "");
  assert.notEqual(machine.current("site"), undefined);
});
