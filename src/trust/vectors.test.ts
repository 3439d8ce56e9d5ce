import assert from "node:assert/strict";
import fs from "node:fs/promises";
import { test } from "node:test";
import * as z from "zod";
import { digestOf, type TreeId } from "../lib/text/ids.ts";
import { openCharter } from "./charter/charter.ts";
import { DOCUMENT_TYPES, releaseIdOf, rosterDigest, rosterSchema } from "./document/documents.ts";
import { openEnvelope, parseEnvelope } from "./document/envelope.ts";
import { openBirth } from "./members/identity.ts";
import { keyIdOf, signerFromSeed, spkiDigestOf } from "./keys/keys.ts";
import { openOrder, openRelease, openSettle, refuseUnproven } from "./orders/orders.ts";
import { openSession } from "./members/sessions.ts";
import { vectors } from "./vectors.fixture.ts";

const text = await fs.readFile(new URL("../../docs/formats/vectors.json", import.meta.url), "utf8");
const file = z
  .object({
    keys: z.array(
      z.object({
        name: z.string(),
        seed: z.string(),
        alg: z.literal("raw"),
        pub: z.string(),
        kid: z.string(),
        spki: z.string(),
      }),
    ),
    keyIds: z.object({ pub: z.string(), raw: z.string(), sshsig: z.string(), sk: z.string() }),
    release: z.object({
      app: z.string(),
      tree: z.string(),
      commit: z.string(),
      id: z.string(),
      withoutCommit: z.string(),
    }),
    roster: z.object({ text: z.string(), digest: z.string() }),
    documents: z.array(
      z.object({
        type: z.enum(DOCUMENT_TYPES),
        payload: z.string(),
        digest: z.string(),
        signers: z.array(z.string()),
        envelope: z.unknown(),
      }),
    ),
    refused: z.array(
      z.object({
        why: z.string(),
        code: z.string(),
        type: z.enum(DOCUMENT_TYPES),
        signer: z.string(),
        envelope: z.unknown(),
      }),
    ),
  })
  .parse(JSON.parse(text));

const signers = new Map(file.keys.map(({ name, seed }) => [name, signerFromSeed(Buffer.from(seed, "hex"))]));
const signer = (name: string): NonNullable<ReturnType<typeof signers.get>> => {
  const found = signers.get(name);
  assert.ok(found, name);
  return found;
};
const document = (type: string): (typeof file.documents)[number] => {
  const found = file.documents.find((one) => one.type === type);
  assert.ok(found, type);
  return found;
};

test("keys and their ids are as written", () => {
  for (const { name, pub, kid, spki } of file.keys) {
    const made = signer(name);
    assert.deepEqual([made.pub, made.kid, spkiDigestOf(made.pub)], [pub, kid, spki]);
  }
  const { pub } = file.keyIds;
  for (const alg of ["raw", "sshsig", "sk"] as const) {
    assert.equal(keyIdOf({ alg, pub }), file.keyIds[alg]);
    const spelled = Buffer.concat([Buffer.from(`skein-key-1\0${alg}\0`), Buffer.from(pub, "base64url")]);
    assert.equal(digestOf(spelled).slice(0, 32), file.keyIds[alg], "the formula of envelope.md");
  }
});

test("every type has a vector that opens, with the digest and the bytes as written", () => {
  assert.deepEqual(file.documents.map(({ type }) => type).sort(), [...DOCUMENT_TYPES].sort());
  for (const { type, payload, digest, signers: names, envelope } of file.documents) {
    const keys = new Map(names.map((name) => [signer(name).kid, signer(name)]));
    const opened = openEnvelope(envelope, type, keys, names.length);
    assert.equal(opened.digest, digest, type);
    assert.equal(Buffer.from(parseEnvelope(envelope).p, "base64url").toString(), payload);
    const length = Buffer.byteLength(payload);
    assert.equal(
      digestOf(`DSSEv1 ${type.length} ${type} ${length} ${payload}`),
      digest,
      "the formula of envelope.md",
    );
  }
});

test("what must be refused is refused with its code", () => {
  for (const { why, code, type, signer: name, envelope } of file.refused) {
    const keys = new Map([[signer(name).kid, signer(name)]]);
    assert.throws(() => openEnvelope(envelope, type, keys, 1), { code }, why);
  }
});

test("the vectors fit together as one cluster's documents", () => {
  const now = Date.parse("2026-11-21T02:06:00.000Z");
  const first = document("charter.1");
  const { body: charter, digest: pin } = openCharter(first.envelope, first.digest as never);
  const order = openOrder(charter, document("order.1").envelope, now);
  const settle = openSettle(charter, document("settle.1").envelope, now);
  const roster = rosterSchema.parse(JSON.parse(file.roster.text));
  assert.equal(rosterDigest(roster), file.roster.digest);
  assert.equal(digestOf(file.roster.text), file.roster.digest);
  const receipts = [document("receipt.1").envelope];
  refuseUnproven({ settle: settle.body, order: order.body, orderDigest: order.digest, roster, receipts });
  assert.equal(openRelease(charter, document("release.1").envelope, now).id, order.body.release);
  const birth = openBirth(
    charter,
    { ticket: document("ticket.1").envelope, enrol: document("enrol.1").envelope },
    { pin, now },
  );
  assert.equal(birth.identity.node, roster.nodes[0]?.node);
  openSession(charter, document("session.1").envelope, now);
});

test("a release's id is as written", () => {
  const { app, tree, commit, id, withoutCommit } = file.release;
  assert.equal(releaseIdOf({ app, tree: tree as TreeId, commit }), id);
  assert.equal(releaseIdOf({ app, tree: tree as TreeId, commit: null }), withoutCommit);
  assert.equal(
    digestOf(`skein-release-1\0${app}\0${tree}\0${commit}`).slice(0, 32),
    id,
    "the formula of release-document.md",
  );
});

test("the file is what its writer writes today: no format changed by accident", async () => {
  assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(await vectors())));
});
