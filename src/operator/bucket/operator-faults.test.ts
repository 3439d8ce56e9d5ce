import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, utimesSync, writeFileSync } from "node:fs";
import path from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { listRoot, readRoot } from "../../bucket/entries.ts";
import { orderName, revisionWord } from "../../bucket/layout.ts";
import { ordersOf } from "../../bucket/publish.ts";
import type { DocumentStore } from "../../depot/seam/documents.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { writeTree } from "../../release/release.fixture.ts";
import { bucketWorld, type BucketWorld } from "./bucket-world.fixture.ts";
import { lineOf } from "./bucket-order.ts";
import { jumpMaster, masterRevisions } from "./master.ts";
import { newestSent } from "./newest-sent.ts";
import { LAUNCHER } from "../../lib/process/launcher.fixture.ts";

/** One command in a process of its own, killed at a named point. */
async function killed(world: BucketWorld, fault: string, ...words: string[]): Promise<void> {
  const env = {
    PATH: process.env["PATH"],
    SKEIN_HOME: path.join(world.dir, "op"),
    SKEIN_BUCKET: world.bucket.name,
    SKEIN_FAULT: fault,
  };
  const run = spawn(LAUNCHER, ["ftl", ...words], { env, stdio: ["ignore", "ignore", "pipe"] });
  const said = text(run.stderr);
  const [, signal] = (await once(run, "close")) as [number | null, string | null];
  assert.equal(signal, "SIGKILL", `${fault}: ${await said}`);
}

test("a publisher that is killed anywhere leaves a bucket that the next command finishes (long)", async (t) => {
  const world = await bucketWorld(t);
  const machine = world.machine("m", ["tool"]);
  const rooted = async (): Promise<void> => {
    const look = await readRoot(world.bucket.documents, undefined, t.signal);
    assert.ok(look !== "same");
    assert.deepEqual(look.root, await listRoot(world.bucket.documents, t.signal));
  };
  for (const [n, fault] of ["publish.rows", "depot.renamed", "publish.indexed", "bucket.release"].entries()) {
    const dir = writeTree(path.join(world.dir, `files-${n}`), { "tool.sh": `version ${n}` });
    await killed(world, fault, "spool", path.join(dir, "tool.sh"));
    const revision = await world.spoolFile(path.join(dir, "tool.sh"));
    assert.equal(
      await world.spoolFile(path.join(dir, "tool.sh")),
      revision,
      "the same content, the same revision",
    );
    await rooted();
    await world.jump(revision);
  }
  const before = await lineOf(await world.operator(), { app: "tool", env: "default" }, t.signal);
  for (const [n, fault] of ["operator.signed", "bucket.order", "bucket.root"].entries()) {
    const dir = writeTree(path.join(world.dir, `more-${n}`), { "tool.sh": `more ${n}` });
    const revision = await world.spoolFile(path.join(dir, "tool.sh"));
    await killed(world, fault, "jump", "--master", revision);
    // What was signed then is delivered first, and those very bytes: no serial has two orders.
    await world.jump(revision);
    const operator = await world.operator();
    const { head } = await lineOf(operator, { app: "tool", env: "default" }, t.signal);
    const remembered = await newestSent(operator, { app: "tool", env: "default" });
    assert.equal(remembered, head?.order.seq, "should the bucket be set back, this machine knows");
    assert.equal(head?.order.seq, (before.head?.order.seq ?? 0) + n + 1, fault);
    await rooted();
    const { packages } = await machine.sync();
    assert.deepEqual([packages[0]?.troubles, `tool.${packages[0]?.active}`], [[], revision], fault);
  }
});

test("an order that cannot be read just now is no reason to build on the one before it", async (t) => {
  const world = await bucketWorld(t);
  const [first, second] = [await world.spool("site", { v: "1" }), await world.spool("site", { v: "2" })];
  await world.jump(first);
  const [kept = assert.fail()] = readdirSync(path.join(world.dir, "op/etc/operator/sent-to-bucket"));
  const left = path.join(
    world.dir,
    "op/etc/operator/sent-to-bucket",
    kept,
    "site.default.json.0123456789ab.tmp",
  );
  writeFileSync(left, "half");
  utimesSync(left, new Date(0), new Date(0));
  await world.jump(second);
  assert.equal(existsSync(left), false, "what a command that was killed while it wrote has left");
  const operator = await world.operator();
  const { documents } = operator.bucket;
  const newest = (await ordersOf("site", "default", { documents, signal: t.signal })).at(-1) ?? assert.fail();
  const away = new SkeinError("DEPOT_UNREACHABLE", "it does not answer");
  const read: DocumentStore["read"] = async (name, ...rest) =>
    name === orderName(newest) ? await Promise.reject(away) : await documents.read(name, ...rest);
  const cut = { ...operator, bucket: { ...operator.bucket, documents: { ...documents, read } } };
  const options = { env: "default", selector: "all", spreadMs: 0, signal: t.signal };
  await assert.rejects(jumpMaster(cut, revisionWord(first), options), away, "it is not active already");
  await assert.rejects(masterRevisions("site", { ...cut, ...options }), away);
});

test("what another command of this machine orders while the line is read is no order that the bucket lost", async (t) => {
  const world = await bucketWorld(t);
  const [first, second, third] = [
    await world.spool("site", { v: "1" }),
    await world.spool("site", { v: "2" }),
    await world.spool("site", { v: "3" }),
  ];
  await world.jump(first);
  const notes: string[] = [];
  const operator = { ...(await world.operator()), note: (line: string) => void notes.push(line) };
  const { documents } = operator.bucket;
  const newest = (await ordersOf("site", "default", { documents, signal: t.signal })).at(-1) ?? assert.fail();
  // As the line is read for the last time before it is signed, the other order comes.
  let reads = 0;
  const read: DocumentStore["read"] = async (name, ...rest) => {
    const found = await documents.read(name, ...rest);
    if (name === orderName(newest) && (reads += 1) === 2) await world.jump(second);
    return found;
  };
  const slow = { ...operator, bucket: { ...operator.bucket, documents: { ...documents, read } } };
  const options = { env: "default", selector: "all", spreadMs: 0, signal: t.signal };
  await assert.rejects(jumpMaster(slow, revisionWord(third), options), { code: "HEAD_MOVED" });
  assert.deepEqual(notes, []);
  const revisions = await masterRevisions("site", { ...operator, ...options });
  const active = revisions.find(({ state }) => state === "active");
  assert.equal(`site.${active?.revision}`, second);
});
