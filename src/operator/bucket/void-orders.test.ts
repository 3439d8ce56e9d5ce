/** Whoever can write a bucket can put documents of any name there: none of them holds an app for ever. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { orderEntryBytes } from "../../bucket/entries.ts";
import { orderName, revisionWord } from "../../bucket/layout.ts";
import { remakeRoot } from "../../bucket/publish.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { seal, type Envelope } from "../../trust/document/envelope.ts";
import { timeOf } from "../../trust/document/fields.ts";
import { generateSigner } from "../../trust/keys/keys.ts";
import { bucketWorld, type BucketWorld } from "./bucket-world.fixture.ts";
import { readBucketLine } from "./bucket-line.ts";
import { openBucketOperator } from "./bucket-operator.ts";
import { jumpMaster } from "./master.ts";

const ORDERS = "orders/site/default";
const EPOCH = `${ORDERS}/9999999999-0000000000000001.json`;
const LAST = `${ORDERS}/0000000000-${Number.MAX_SAFE_INTEGER}.json`;
const BEYOND = `${ORDERS}/0000000000-9999999999999999.json`;

async function attacked(t: TestContext, name: string, bytes: Uint8Array | string) {
  const world = await bucketWorld(t);
  const [v1, v2] = [await world.spool("site", { page: "one" }), await world.spool("site", { page: "two" })];
  await world.jump(v1);
  await put(world, t, name, bytes);
  const notes: string[] = [];
  const paths = (await world.operator()).paths;
  const { bucket } = world;
  const operator = await openBucketOperator({
    paths,
    bucket,
    clock: systemClock,
    signal: t.signal,
    note: (text) => notes.push(text),
  });
  const jump = async (revision: string) =>
    await jumpMaster(operator, revisionWord(revision), {
      env: "default",
      selector: "all",
      spreadMs: 0,
      signal: t.signal,
    });
  return { world, v1, v2, notes, jump, isThere: () => existsSync(path.join(world.bucketDir, name)) };
}

/** As whoever can write the bucket would: the root says it, too. */
async function put(
  world: BucketWorld,
  t: TestContext,
  name: string,
  bytes: Uint8Array | string,
): Promise<void> {
  writeFileSync(path.join(world.bucketDir, name), bytes);
  await remakeRoot({ documents: world.bucket.documents, clock: systemClock, signal: t.signal });
}

for (const [what, name] of [
  ["another epoch", EPOCH],
  ["the last serial", LAST],
] as const) {
  test(`an order of ${what} that is none is looked past by machines, and goes with the next one`, async (t) => {
    const { world, v1, v2, notes, jump, isThere } = await attacked(t, name, "{}");
    const machine = world.machine("m", ["site"]);
    const { packages } = await machine.sync();
    const [trouble, ...others] = packages[0]?.troubles ?? [];
    assert.deepEqual([trouble?.code, others], ["DOC_MALFORMED", []]);
    assert.ok(
      trouble?.message.includes(name) && trouble.hint?.includes("next order that an operator signs"),
      String(trouble?.hint),
    );
    assert.equal(`site.${packages[0]?.active}`, v1, "what was ordered before it came all the same");
    assert.equal((await jump(v2)).seq, 2);
    assert.equal(notes.length, 1);
    assert.ok(notes[0]?.startsWith(name));
    assert.ok(!isThere());
    const after = await machine.sync();
    assert.deepEqual([after.packages[0]?.troubles, `site.${after.packages[0]?.active}`], [[], v2]);
  });
}

test("a name with a serial that no order can have is nobody's", async (t) => {
  const { world, v1, v2, notes, jump } = await attacked(t, BEYOND, "{}");
  const machine = world.machine("m", ["site"]);
  const { packages } = await machine.sync();
  assert.deepEqual([packages[0]?.troubles, `site.${packages[0]?.active}`], [[], v1]);
  assert.deepEqual([(await jump(v2)).seq, notes], [2, []]);
});

test("an order that a stranger signed holds nothing up, whatever its epoch", async (t) => {
  const { world, v1, v2, notes, jump } = await attacked(t, EPOCH, "{}");
  const { bucket } = world;
  const { charter } = await world.operator();
  const line = await readBucketLine("site", "default", {
    bucket,
    charter,
    now: Date.now(),
    signal: t.signal,
  });
  assert.ok(line.head !== null && line.entry !== null);
  const forged = { ...line.head.order, epoch: 9_999_999_999, seq: 1 };
  const order = await seal("order.1", forged, [generateSigner()]);
  const name = orderName({ app: "site", env: "default", epoch: forged.epoch, seq: 1, digest: null });
  assert.equal(name, EPOCH);
  await put(world, t, name, orderEntryBytes({ ...line.entry, order }));
  const machine = world.machine("m", ["site"]);
  const { packages } = await machine.sync();
  assert.deepEqual(
    packages[0]?.troubles.map(({ code }) => code),
    ["DOC_UNSIGNED"],
  );
  assert.equal(`site.${packages[0]?.active}`, v1);
  assert.equal((await jump(v2)).seq, 2);
  assert.equal(notes.length, 1);
  assert.equal((await machine.sync()).packages[0]?.active, revisionWord(v2).revision);
});

test("what lies in the next charter's place and cannot be it holds nobody up, and goes (long)", async (t) => {
  const other = await bucketWorld(t);
  const name = "charters/0000000002.json";
  const first = readFileSync(path.join(other.bucketDir, "charters/0000000001.json"));
  for (const bytes of ["{}", "none", first]) {
    const { world, v1, v2, notes, jump, isThere } = await attacked(t, name, bytes);
    const machine = world.machine("m", ["site"]);
    const { packages } = await machine.sync();
    assert.equal(`site.${packages[0]?.active}`, v1);
    assert.ok(packages[0]?.troubles[0]?.message.startsWith(name), String(packages[0]?.troubles));
    assert.equal((await jump(v2)).seq, 2);
    assert.ok(notes.every((note) => note.startsWith(name)) && notes.length > 0, notes.join());
    assert.ok(!isThere());
    const after = await machine.sync();
    assert.deepEqual([after.packages[0]?.troubles, `site.${after.packages[0]?.active}`], [[], v2]);
  }
});

test("a charter of a later format is left to those who know it", async (t) => {
  const name = "charters/0000000002.json";
  const { world, v2, jump, isThere } = await attacked(t, name, "{}");
  const { signer } = await world.operator();
  const first = JSON.parse(
    readFileSync(path.join(world.bucketDir, "charters/0000000001.json"), "utf8"),
  ) as Envelope;
  await put(world, t, name, JSON.stringify({ ...first, t: "charter.2", s: [{ k: signer.kid, s: "AAAA" }] }));
  await jump(v2);
  assert.ok(isThere());
});

test("who knows an old charter removes nothing: the order may be good under the next one", async (t) => {
  const { world, v2, notes, jump, isThere } = await attacked(t, EPOCH, "{}");
  const { charter, signer } = await world.operator();
  const next = { ...charter, version: 2, issued: timeOf(Date.now()) };
  await put(world, t, "charters/0000000002.json", JSON.stringify(await seal("charter.1", next, [signer])));
  await assert.rejects(jump(v2), { code: "DOC_MALFORMED" });
  assert.deepEqual([notes, isThere()], [[], true]);
});
