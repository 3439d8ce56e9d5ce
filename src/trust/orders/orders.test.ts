import assert from "node:assert/strict";
import { test } from "node:test";
import { isSkeinError, type SkeinError } from "../../lib/errors/errors.ts";
import type { Digest, KeyId, TreeId } from "../../lib/text/ids.ts";
import {
  at,
  CLUSTER,
  keyRecords,
  orderBody,
  receiptBy,
  release,
  rosterOf,
  sealOrder,
  settleBody,
  T0,
  testCluster,
  testNode,
} from "../cluster.fixture.ts";
import {
  releaseIdOf,
  rosterDigest,
  rosterText,
  type Charter,
  type Release,
  type Roster,
} from "../document/documents.ts";
import { addSignature, digestOfEnvelope, seal, type Envelope } from "../document/envelope.ts";
import { generateSigner } from "../keys/keys.ts";
import {
  openOrder,
  openReceipt,
  openRelease,
  openSettle,
  orderMayRoot,
  refuseUnproven,
  releaseOf,
} from "./orders.ts";

const cluster = await testCluster();
const { alice, bob, charter } = cluster;
const nodes = await Promise.all(["web1", "web2", "web3"].map((name) => testNode(cluster, name)));
const roster = rosterOf(...nodes);

/** The envelope with its payload's first `from` replaced: what a hub could do to it. */
function tampered(envelope: Envelope, from: string, to: string): Envelope {
  const text = Buffer.from(envelope.p, "base64url").toString();
  assert.ok(text.includes(from));
  return { ...envelope, p: Buffer.from(text.replace(from, to)).toString("base64url") };
}

/** The same signature, said to be by somebody else. */
const signedAs = (k: KeyId, envelope: Envelope): Envelope => ({
  ...envelope,
  s: envelope.s.map((one) => ({ ...one, k })),
});

test("an order is signed by an operator of its app and environment", async () => {
  const envelope = await sealOrder(orderBody(3), alice);
  const opened = openOrder(charter, envelope, T0);
  assert.equal(opened.digest, digestOfEnvelope(envelope));
  const scoped: Charter = {
    ...charter,
    operators: { [alice.kid]: { name: "alice", allow: ["admin", "deploy:shop/staging", "root:*/*"] } },
  };
  assert.throws(() => openOrder(scoped, envelope, T0), { code: "DOC_UNSIGNED" });
  const staging = await sealOrder(orderBody(3, { env: "staging" }), alice);
  assert.equal(orderMayRoot(scoped, openOrder(scoped, staging, T0)), true);
  const stranger = await sealOrder(orderBody(3), generateSigner());
  assert.throws(() => openOrder(charter, stranger, T0), { code: "DOC_UNSIGNED" });
});

test("a tampered order, one of another cluster, of the future, of an unknown epoch is refused", async () => {
  const envelope = await sealOrder(orderBody(3), alice);
  const cases: [Envelope, string][] = [
    [tampered(envelope, release(3), release(4)), "DOC_UNSIGNED"],
    [tampered(envelope, '"state":"run"', '"state":"run","x":1'), "DOC_MALFORMED"],
    [await sealOrder(orderBody(3, { cluster: "d".repeat(32) }), alice), "WRONG_CLUSTER"],
    [await sealOrder(orderBody(3, { issued: at(10.001) }), alice), "DOC_FROM_FUTURE"],
    [await sealOrder(orderBody(3, { epoch: 1 }), alice), "CHARTER_ROLLBACK"],
    [await seal("settle.1", settleBody(orderBody(3), envelope), [alice]), "DOC_WRONG_TYPE"],
  ];
  for (const [bad, code] of cases) assert.throws(() => openOrder(charter, bad, T0), { code });
  openOrder(charter, await sealOrder(orderBody(3, { issued: at(10) }), alice), T0);
});

test("an expired charter refuses orders issued later, and only those", async () => {
  const short: Charter = { ...charter, expires: at(5) };
  const late = T0 + 7_200_000;
  openOrder(short, await sealOrder(orderBody(3, { issued: at(4) }), alice), late);
  const after = await sealOrder(orderBody(4, { issued: at(5) }), alice);
  assert.throws(() => openOrder(short, after, late), { code: "CHARTER_EXPIRED" });
});

test("a quorum needs that many different operators, for the order and for its settle", async () => {
  const strict: Charter = { ...charter, quorum: { "shop/default": 2 } };
  const order = orderBody(3);
  const one = await sealOrder(order, alice);
  assert.throws(() => openOrder(strict, one, T0), { code: "DOC_UNSIGNED" });
  const two = await addSignature(one, bob);
  assert.equal(openOrder(strict, two, T0).digest, digestOfEnvelope(one));
  const settle = await seal("settle.1", settleBody(order, two), [alice]);
  assert.throws(() => openSettle(strict, settle, T0), { code: "DOC_UNSIGNED" });
  openSettle(strict, await addSignature(settle, bob), T0);
});

test("one signer with the right is enough for an order to run as root", async () => {
  const both = await addSignature(await sealOrder(orderBody(3), alice), bob);
  const rooted = (allow: string): Charter => ({
    ...charter,
    quorum: { "shop/default": 2 },
    operators: {
      [alice.kid]: { name: "alice", allow: ["admin", "deploy:*/*"] },
      [bob.kid]: { name: "bob", allow: ["deploy:*/*", allow] },
    },
  });
  const mayRoot = (by: Charter): boolean => orderMayRoot(by, openOrder(by, both, T0));
  assert.equal(mayRoot(rooted("root:shop/default")), true);
  assert.equal(mayRoot(rooted("root:shop/staging")), false);
});

test("a settle counts with the receipts that it needs, and with nothing else", async () => {
  const order = orderBody(3, { roster: rosterDigest(roster) });
  const envelope = await sealOrder(order, alice);
  const orderDigest = digestOfEnvelope(envelope);
  const settle = settleBody(order, envelope, { needs: 2 });
  const [web1, web2, web3] = nodes;
  assert.ok(web1 && web2 && web3);
  const [one, two] = await Promise.all([web1, web2].map((node) => receiptBy(node, order, envelope)));
  const proof = (
    receipts: readonly unknown[],
    change: Partial<{ roster: Roster | null }> = {},
  ): readonly unknown[] => refuseUnproven({ settle, order, orderDigest, roster, receipts, ...change });
  assert.deepEqual(proof([one, two]), [one, two]);
  assert.deepEqual(proof([await receiptBy(web3, order, envelope, { verdict: "failed" }), two, "junk", one]), [
    two,
    one,
  ]);
  const three = await receiptBy(web3, order, envelope);
  assert.deepEqual(proof([one, two, three]), [one, two], "no more than it needs");

  const outsider = await testNode(cluster, "web4");
  const insufficient: Record<string, readonly unknown[]> = {
    none: [],
    "one receipt": [one],
    "one receipt twice": [one, one],
    "another node's": [one, await receiptBy(outsider, order, envelope)],
    "a failed one": [one, await receiptBy(web2, order, envelope, { verdict: "failed" })],
    "an undone one": [one, await receiptBy(web2, order, envelope, { verdict: "undone" })],
    "a late one": [one, await receiptBy(web2, order, envelope, { at: at(60) })],
    "one of another order": [
      one,
      await receiptBy(web2, order, envelope, { order: "0".repeat(64) as Digest }),
    ],
    "one of another serial": [one, await receiptBy(web2, order, envelope, { seq: 4 })],
    "one of another release": [one, await receiptBy(web2, order, envelope, { release: release(9) })],
    "one of another cluster": [one, await receiptBy(web2, order, envelope, { cluster: "d".repeat(32) })],
    "one by another key": [
      one,
      await receiptBy({ ...web2, signer: web1.signer }, order, envelope, { node: web2.signer.kid }),
    ],
    "one by another key under the node's name": [
      one,
      signedAs(
        web2.signer.kid,
        await receiptBy({ ...web2, signer: web1.signer }, order, envelope, { node: web2.signer.kid }),
      ),
    ],
    "one of another environment": [one, await receiptBy(web2, order, envelope, { env: "staging" })],
    "one of another app": [one, await receiptBy(web2, order, envelope, { app: "shop2" })],
    "one that the node did not sign": [
      one,
      await seal("receipt.1", { ...(await bodyOf(one)), node: web2.signer.kid, key: web2.signer.pub }, [
        web1.signer,
      ]),
    ],
    "a tampered one": [one, tampered(two as Envelope, '"cut":0', '"cut":1')],
  };
  for (const [why, receipts] of Object.entries(insufficient)) {
    assert.throws(() => proof(receipts), { code: "SETTLE_UNPROVEN" }, why);
  }
  assert.throws(() => proof([one, two], { roster: null }), { code: "SETTLE_UNPROVEN" });
  const wider = rosterOf(...nodes, outsider);
  assert.throws(() => proof([one, two], { roster: wider }), { code: "SETTLE_UNPROVEN" });
  for (const change of [{ env: "staging" }, { app: "shop2" }, { epoch: 1 }]) {
    const elsewhere = settleBody(order, envelope, { needs: 0, ...change });
    assert.throws(() => refuseUnproven({ settle: elsewhere, order, orderDigest, roster, receipts: [] }), {
      code: "SETTLE_UNPROVEN",
    });
  }
  const other = settleBody(orderBody(4), await sealOrder(orderBody(4), alice), { needs: 0 });
  const rival = await sealOrder({ ...order, release: release(9) }, alice);
  const sameSerial = settleBody(order, rival, { needs: 0 });
  for (const foreign of [other, sameSerial]) {
    assert.throws(() => refuseUnproven({ settle: foreign, order, orderDigest, roster, receipts: [] }), {
      code: "SETTLE_UNPROVEN",
    });
  }
});

async function bodyOf(envelope: unknown): Promise<ReturnType<typeof openReceipt>["body"]> {
  return openReceipt(CLUSTER, envelope).body;
}

test("a tampered settle and one by a stranger are refused", async () => {
  const order = orderBody(3);
  const envelope = await sealOrder(order, alice);
  const settle = await seal("settle.1", settleBody(order, envelope, { needs: 2 }), [alice]);
  assert.throws(() => openSettle(charter, tampered(settle, '"needs":2', '"needs":0'), T0), {
    code: "DOC_UNSIGNED",
  });
  const stranger = await seal("settle.1", settleBody(order, envelope), [generateSigner()]);
  assert.throws(() => openSettle(charter, stranger, T0), { code: "DOC_UNSIGNED" });
  const future = await seal("settle.1", settleBody(order, envelope, { issued: at(11) }), [alice]);
  assert.throws(() => openSettle(charter, future, T0), { code: "DOC_FROM_FUTURE" });
  const foreign = await seal("settle.1", settleBody(order, envelope, { cluster: "d".repeat(32) }), [alice]);
  assert.throws(() => openSettle(charter, foreign, T0), { code: "WRONG_CLUSTER" });
  const unknown = await seal("settle.1", settleBody(order, envelope, { epoch: 1 }), [alice]);
  assert.throws(() => openSettle(charter, unknown, T0), { code: "CHARTER_ROLLBACK" });
  await assert.rejects(seal("settle.1", settleBody(order, envelope, { needs: 33 }), [alice]), {
    code: "DOC_MALFORMED",
  });
});

test("a roster's digest does not depend on how it was written down", () => {
  const [a, b] = roster.nodes;
  assert.ok(a && b);
  const shuffled: Roster = { nodes: [b, { labels: { z: "1", a: "2" }, name: a.name, node: a.node }] };
  const straight: Roster = { nodes: [{ node: a.node, name: a.name, labels: { a: "2", z: "1" } }, b] };
  assert.equal(rosterDigest(shuffled), rosterDigest(straight));
  assert.equal(rosterText({ nodes: [] }), '{"nodes":[]}');
});

const releaseBody: Release = {
  cluster: CLUSTER,
  app: "shop",
  tree: "ab".repeat(32) as TreeId,
  rows: "cd".repeat(32) as Digest,
  since: null,
  commit: "1".repeat(40),
  source: { kind: "git", name: "shop" },
  builder: alice.kid,
  created: at(0),
  files: 1,
  bytes: 2,
};

test("a release is the same whoever made it and when, and another for another app, tree or commit", () => {
  const id = releaseIdOf(releaseBody);
  const byBob: Release = { ...releaseBody, builder: bob.kid, created: at(9) };
  assert.equal(releaseIdOf(byBob), id);
  const others = [
    { ...releaseBody, app: "shop2" },
    { ...releaseBody, commit: null },
    { ...releaseBody, tree: "ac".repeat(32) as TreeId },
  ].map((one) => releaseIdOf(one));
  assert.equal(new Set([id, ...others]).size, 4);
});

test("a release document is signed by the builder it names, who may build the app", async () => {
  const id = releaseIdOf(releaseBody);
  const good = await seal("release.1", releaseBody, [alice]);
  assert.equal(openRelease(charter, good, T0).id, id);
  const ci = generateSigner();
  const built: Charter = {
    ...charter,
    keys: { ...charter.keys, ...keyRecords(ci) },
    builders: { [ci.kid]: { name: "ci", apps: ["shop"] } },
  };
  openRelease(built, await seal("release.1", { ...releaseBody, builder: ci.kid }, [ci]), T0);
  const elsewhere = await seal("release.1", { ...releaseBody, app: "api", builder: ci.kid }, [ci]);
  assert.throws(() => openRelease(built, elsewhere, T0), { code: "DOC_UNSIGNED" });
  const inAlicesName = await seal("release.1", releaseBody, [ci]);
  assert.throws(() => openRelease(built, inAlicesName, T0), { code: "DOC_UNSIGNED" });
  const future = await seal("release.1", { ...releaseBody, created: at(11) }, [alice]);
  assert.throws(() => openRelease(charter, future, T0), { code: "DOC_FROM_FUTURE" });
  const foreign = await seal("release.1", { ...releaseBody, cluster: "d".repeat(32) }, [alice]);
  assert.throws(() => openRelease(charter, foreign, T0), { code: "WRONG_CLUSTER" });
});

test("an order's release is found among those offered only if its document is genuine", async () => {
  const id = releaseIdOf(releaseBody);
  const good = await seal("release.1", releaseBody, [alice]);
  const bad = tampered(good, '"files":1', '"files":9');
  const wanted = { app: "shop", id };
  assert.equal(releaseOf(charter, wanted, [bad, good], T0).digest, digestOfEnvelope(good));
  const another = await seal("release.1", { ...releaseBody, commit: "2".repeat(40) }, [alice]);
  assert.equal(releaseOf(charter, wanted, [another, good], T0).digest, digestOfEnvelope(good));
  assert.throws(() => releaseOf(charter, wanted, [another], T0), { code: "ORDER_UNKNOWN_RELEASE" });
  assert.throws(
    () => releaseOf(charter, wanted, [bad], T0),
    (err: SkeinError) => err.code === "ORDER_UNKNOWN_RELEASE" && isSkeinError(err.cause, "DOC_UNSIGNED"),
  );
  assert.throws(() => releaseOf(charter, wanted, [], T0), { code: "ORDER_UNKNOWN_RELEASE" });
  assert.throws(() => releaseOf(charter, { app: "api", id }, [good], T0), { code: "ORDER_UNKNOWN_RELEASE" });
});

test("a receipt speaks for the node whose key it carries", async () => {
  const [web1, web2] = nodes;
  assert.ok(web1 && web2);
  const order = orderBody(3);
  const envelope = await sealOrder(order, alice);
  const good = await receiptBy(web1, order, envelope);
  assert.equal(openReceipt(CLUSTER, good).body.node, web1.signer.kid);
  const borrowed = await receiptBy(web1, order, envelope, { node: "f".repeat(32) as KeyId });
  assert.throws(() => openReceipt(CLUSTER, borrowed), { code: "DOC_UNSIGNED" });
  // The key in it fits the signature, and the name on it is the other node's: all that is wrong is whose key that is.
  for (const { signer } of [web2, { signer: { kid: "f".repeat(32) as KeyId } }]) {
    const inAnothersName = signedAs(signer.kid, await receiptBy(web1, order, envelope, { node: signer.kid }));
    assert.throws(() => openReceipt(CLUSTER, inAnothersName), { code: "DOC_UNSIGNED" });
  }
  assert.throws(() => openReceipt("d".repeat(32), good), { code: "WRONG_CLUSTER" });
});
