import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { freePort } from "../lib/testing/free-port.fixture.ts";
import type { Order } from "../trust/document/documents.ts";
import { addSignature, digestOfEnvelope, seal, type Envelope } from "../trust/document/envelope.ts";
import { timeOf } from "../trust/document/fields.ts";
import { generateSigner } from "../trust/keys/keys.ts";
import { settleBody } from "../trust/cluster.fixture.ts";
import { answer, settleOf, world, type Ordered, type World } from "./agent.fixture.ts";
import { eventually } from "../lib/testing/eventually.fixture.ts";

const MINUTE = 60_000;
const from = (ms: number): string => timeOf(Date.now() + ms);

const tree = (port: number, version: string): Record<string, string> => ({
  "skein.yaml": `app: shop\nprocesses: { web: { run: node web.js, listen: ${port}, drain: { window: 50ms, within: 20s } } }\n`,
  "web.js": `require("node:http").createServer((q, r) => r.end("${version}")).listen(process.env.PORT, process.env.HOST);`,
});

interface Case {
  readonly w: World;
  /** Codes of what the agent's log says that it did not take, as `TYPE CODE`. */
  readonly refused: Set<string>;
  readonly port: number;
  readonly first: Ordered;
  readonly second: Envelope;
}

/** A node that runs `one`, settled, and knows of a release `two`. */
async function running(t: TestContext): Promise<Case> {
  const w = await world(t);
  const port = await freePort();
  const refused = new Set<string>();
  const onLog = (line: string): void => {
    const said = JSON.parse(line) as Record<string, unknown>;
    if (said["msg"] === "document refused")
      refused.add(`${String(said["type"])} ${String(said["err.code"])}`);
  };
  await w.agent({ onLog });
  const first = await w.deploy(tree(port, "one"), { settle: true });
  await w.receipt(first.digest, "ok");
  return { w, refused, port, first, second: await w.publish(tree(port, "two")) };
}

/** Offers one more order beside what stands. */
function offer({ w, first, second }: Case, order: Envelope, releases: readonly Envelope[] = [second]): void {
  w.offer({
    orders: [order, first.envelope],
    releases: [...w.offered.releases, ...releases],
    gates: { [digestOfEnvelope(order)]: "go", [first.digest]: "go" },
  });
}

const bend = (envelope: Envelope, change: (body: Record<string, unknown>) => void): Envelope => {
  const body = JSON.parse(Buffer.from(envelope.p, "base64url").toString()) as Record<string, unknown>;
  change(body);
  return { ...envelope, p: Buffer.from(JSON.stringify(body)).toString("base64url") };
};

const ORDERS: readonly [what: string, code: string, make: (c: Case) => Promise<Envelope>][] = [
  [
    "a tampered order",
    "DOC_UNSIGNED",
    async ({ w, second }) => bend((await w.order(second)).envelope, (body) => (body["generation"] = 7)),
  ],
  [
    "an order by nobody the charter lists",
    "DOC_UNSIGNED",
    async ({ w, second }) => await seal("order.1", (await w.order(second)).order, [generateSigner()]),
  ],
  [
    "a replayed older order",
    "ORDER_ROLLBACK",
    async (c) => {
      const newest = await c.w.order(c.w.offered.releases[0]!, { seq: 9, generation: 1 });
      offer(c, newest.envelope, []);
      await c.w.receipt(newest.digest, "ok");
      return (await c.w.order(c.second, { seq: 5, issued: from(-MINUTE) })).envelope;
    },
  ],
  [
    "an order for another cluster",
    "WRONG_CLUSTER",
    async ({ w, second }) => (await w.order(second, { cluster: "d2".repeat(16) })).envelope,
  ],
  [
    "an order for another node",
    "ORDER_NOT_FOR_NODE",
    async ({ w, second }) => (await w.order(second, { selector: "role=db" })).envelope,
  ],
  [
    "a document from the future",
    "DOC_FROM_FUTURE",
    async ({ w, second }) => (await w.order(second, { issued: from(30 * MINUTE) })).envelope,
  ],
  [
    "an expired order",
    "ORDER_EXPIRED",
    async ({ w, second }) =>
      (await w.order(second, { issued: from(-2 * MINUTE), applyBefore: from(-MINUTE) })).envelope,
  ],
  [
    "an order that does not follow the one before it",
    "ORDER_FORK",
    async ({ w, second }) => (await w.order(second, { prev: "ab".repeat(32) as Order["prev"] })).envelope,
  ],
  [
    "unknown fields",
    "DOC_MALFORMED",
    async ({ w, second }) => {
      const bent = bend((await w.order(second)).envelope, (body) => (body["sudo"] = true));
      return await addSignature({ ...bent, s: [] }, w.cluster.alice);
    },
  ],
];

const recordFile = (w: World): string => path.join(w.paths.lib, "state/apps/shop.json");

/** What is recorded once the agent is done with the order before: its receipt goes out a few writes earlier. */
async function atRest(w: World): Promise<string> {
  return await eventually("the end of the order before", async () => {
    const text = fs.readFileSync(recordFile(w), "utf8");
    return (JSON.parse(text) as { attempt: unknown }).attempt === null ? text : undefined;
  });
}

for (const [what, code, make] of ORDERS) {
  test(`${what} is refused with ${code}, and nothing changes`, async (t) => {
    const c = await running(t);
    const bad = await make(c);
    const before = await atRest(c.w);
    offer(c, bad);
    if (code === "DOC_MALFORMED") await logged(c.w);
    else assert.equal((await c.w.receipt(digestOfEnvelope(bad), "refused")).code, code);
    assert.deepEqual([...c.refused].slice(0, 1), [`order ${code}`]);
    assert.equal(await answer(c.port), "one");
    assert.equal(c.w.current(), c.first.release);
    assert.equal(fs.readFileSync(recordFile(c.w), "utf8"), before);
  });
}

test("of two orders with one serial the first is kept, and a later one is taken", async (t) => {
  const c = await running(t);
  const second = await c.w.order(c.second);
  offer(c, second.envelope);
  await c.w.receipt(second.digest, "ok");
  const rival = await c.w.order(c.w.offered.releases[0]!, { seq: 2, prev: c.first.digest });
  c.w.offer({ orders: [rival.envelope], gates: { [rival.digest]: "go" } });
  assert.equal((await c.w.receipt(rival.digest, "refused")).code, "ORDER_EQUIVOCATION");
  assert.equal(await answer(c.port), "two");
  const third = await c.w.order(c.w.offered.releases[0]!, { prev: rival.digest });
  assert.equal(third.order.seq, 4);
  c.w.offer({ orders: [third.envelope], gates: { [third.digest]: "go" } });
  assert.equal((await c.w.receipt(third.digest)).verdict, "ok");
});

test("a settle without its receipts makes nothing stand: the order dies at its time", async (t) => {
  const c = await running(t);
  const late = await c.w.order(c.second, { issued: from(-2 * MINUTE), applyBefore: from(-MINUTE) });
  c.w.offer({
    settles: [...c.w.offered.settles, { settle: await settleOf(c.w.cluster, late, 1), receipts: [] }],
  });
  offer(c, late.envelope);
  assert.equal((await c.w.receipt(late.digest)).code, "ORDER_EXPIRED");
  await logged(c.w);
  assert.ok(c.refused.has("settle SETTLE_UNPROVEN"));
  assert.equal(await answer(c.port), "one");
});

test("a late node takes an order that was settled, whatever the time", async (t) => {
  const c = await running(t);
  const late = await c.w.order(c.second, { issued: from(-2 * MINUTE), applyBefore: from(-MINUTE) });
  const body = settleBody(late.order, late.envelope, { before: from(MINUTE), issued: from(-MINUTE) });
  const settle = await seal("settle.1", body, [c.w.cluster.alice]);
  c.w.offer({ settles: [...c.w.offered.settles, { settle, receipts: [] }] });
  offer(c, late.envelope);
  assert.equal((await c.w.receipt(late.digest)).verdict, "ok");
  assert.equal(await answer(c.port), "two");
});

test("an undo after the settle or after undoBefore is not followed", async (t) => {
  const c = await running(t);
  c.w.offer({ gates: { [c.first.digest]: "undo" } });
  await logged(c.w);
  assert.ok(c.refused.has("undo UNDO_TOO_LATE"));
  assert.equal(c.w.current(), c.first.release);
  c.refused.clear();
  const second = await c.w.order(c.second, { undoBefore: from(-MINUTE) });
  offer(c, second.envelope);
  await c.w.receipt(second.digest, "ok");
  c.w.offer({ gates: { [second.digest]: "undo", [c.first.digest]: "undo" } });
  await logged(c.w);
  assert.ok(c.refused.has("undo UNDO_TOO_LATE"));
  assert.equal(await answer(c.port), "two");
});

test("an order whose release nobody signed is begun by nobody", async (t) => {
  const c = await running(t);
  const forged = await seal(
    "release.1",
    JSON.parse(Buffer.from(c.second.p, "base64url").toString()) as never,
    [generateSigner()],
  );
  const ordered = await c.w.order(c.second);
  offer(c, ordered.envelope, [forged]);
  const receipt = await c.w.receipt(ordered.digest);
  assert.deepEqual([receipt.verdict, receipt.code], ["failed", "ORDER_UNKNOWN_RELEASE"]);
  assert.equal(await answer(c.port), "one");
});

for (const [what, folder, codes] of [
  ["a tampered chunk", "packs", /CHUNK_CORRUPT|PACK_CORRUPT|CHUNK_MISSING|BLOB_MISSING/],
  ["a tampered tree", "rows", /TREE_CORRUPT|PACK_CORRUPT|CHUNK_CORRUPT/],
] as const) {
  test(`${what} in the depot is refused, and the old version serves`, async (t) => {
    const w = await world(t);
    const port = await freePort();
    await w.agent();
    const first = await w.deploy(tree(port, "one"));
    await w.receipt(first.digest, "ok");
    const blobs = path.join(w.depotDir, "blobs", folder);
    const before = new Set(fs.readdirSync(blobs));
    const release = await w.publish(tree(port, "two"));
    for (const name of fs.readdirSync(blobs).filter((one) => !before.has(one))) {
      const file = path.join(blobs, name);
      const bytes = fs.readFileSync(file);
      bytes[bytes.length - 3] = (bytes[bytes.length - 3] ?? 0) ^ 0x55;
      fs.chmodSync(file, 0o644);
      fs.writeFileSync(file, bytes);
    }
    const ordered = await w.order(release);
    w.offer({
      orders: [ordered.envelope],
      releases: [...w.offered.releases, release],
      gates: { [ordered.digest]: "go" },
    });
    const receipt = await w.receipt(ordered.digest);
    assert.equal(receipt.verdict, "failed");
    assert.match(receipt.code ?? "", codes);
    assert.equal(await answer(port), "one");
    assert.equal(w.current(), first.release);
  });
}

test("a revoked node takes no order any more; what runs goes on", async (t) => {
  const c = await running(t);
  const { cluster, node } = c.w;
  const body = { cluster: cluster.charter.cluster, node: node.signer.kid, reason: "lost", issued: from(0) };
  c.w.offer({ revoke: await seal("revoke.1", body, [cluster.alice]) });
  const ordered = await c.w.order(c.second);
  offer(c, ordered.envelope);
  assert.equal((await c.w.receipt(ordered.digest)).code, "REVOKED");
  assert.equal(await answer(c.port), "one");
});

test("another environment of an app that runs here is refused", async (t) => {
  const c = await running(t);
  const ordered = await c.w.order(c.second, { env: "prod", seq: 1, prev: null });
  c.w.offer({
    env: "prod",
    orders: [ordered.envelope],
    releases: [c.second],
    gates: { [ordered.digest]: "go" },
  });
  const { code, hint } = await c.w.receipt(ordered.digest);
  assert.equal(code, "ENV_CONFLICT");
  assert.match(hint ?? "", /skein stop shop --env default --on n1\.$/);
  assert.equal(await answer(c.port), "one");
});

/** Until the node has looked at the newest offer: it reports after each. */
async function logged(w: World): Promise<void> {
  const marker = await w.order(w.offered.releases[0]!, { selector: "role=nobody" });
  w.offer({ orders: [...w.offered.orders, marker.envelope] });
  await w.receipt(marker.digest, "refused");
}
