import assert from "node:assert/strict";
import { test } from "node:test";
import type { KeyId } from "../../lib/text/ids.ts";
import type { Revoke } from "./documents.ts";
import {
  addSignature,
  digestOfEnvelope,
  openEnvelope,
  parseEnvelope,
  readUnverified,
  seal,
  type Envelope,
} from "./envelope.ts";
import { generateSigner, keyIdOf, type PublicKey, type Signer } from "../keys/keys.ts";

const body: Revoke = {
  cluster: "c".repeat(32),
  node: "a".repeat(32) as KeyId,
  reason: "lost",
  issued: "2026-11-21T02:00:00.000Z",
};
const one = generateSigner();
const two = generateSigner();
const keys = (...signers: PublicKey[]): ReadonlyMap<KeyId, PublicKey> =>
  new Map(signers.map((key) => [keyIdOf(key), key]));
const forged = async (text: string, signer: Signer = one): Promise<Envelope> =>
  addSignature({ t: "revoke.1", p: Buffer.from(text).toString("base64url"), s: [] }, signer);

test("a sealed document opens to what was sealed", async () => {
  const envelope = await seal("revoke.1", body, [one]);
  const opened = openEnvelope(JSON.stringify(envelope), "revoke.1", keys(one), 1);
  assert.deepEqual(opened.body, body);
  assert.deepEqual([...opened.signers], [one.kid]);
  assert.equal(opened.digest, digestOfEnvelope(envelope));
});

test("the digest covers type and payload, not signatures", async () => {
  const first = await seal("revoke.1", body, [one]);
  const both = await addSignature(first, two);
  const again = await addSignature(both, one);
  assert.deepEqual(
    again.s.map(({ k }) => k),
    [two.kid, one.kid],
    "who signs again has signed once",
  );
  assert.equal(digestOfEnvelope(both), digestOfEnvelope(first));
  assert.notEqual(digestOfEnvelope({ ...first, t: "label.1" }), digestOfEnvelope(first));
});

test("each key counts once, and keys that may not sign do not count", async () => {
  const both = await seal("revoke.1", body, [one, two]);
  assert.equal(openEnvelope(both, "revoke.1", keys(one, two), 2).signers.size, 2);
  assert.throws(() => openEnvelope(both, "revoke.1", keys(one), 2), { code: "DOC_UNSIGNED" });
  const [signature] = both.s;
  assert.ok(signature);
  const twice = { ...both, s: [signature, signature] };
  assert.throws(() => openEnvelope(twice, "revoke.1", keys(one, two), 2), { code: "DOC_UNSIGNED" });
  assert.throws(() => openEnvelope(both, "revoke.1", keys(one), 0), { code: "DOC_UNSIGNED" });
});

test("what was found out about an envelope is good for the same key alone, and the envelope cannot change", async () => {
  const envelope = parseEnvelope(JSON.stringify(await seal("revoke.1", body, [one])));
  assert.equal(parseEnvelope(envelope), envelope);
  const { body: read } = openEnvelope(envelope, "revoke.1", keys(one), 1);
  const other = new Map([[one.kid, { alg: two.alg, pub: two.pub }]]);
  assert.throws(() => openEnvelope(envelope, "revoke.1", other, 1), { code: "DOC_UNSIGNED" });
  assert.deepEqual(openEnvelope(envelope, "revoke.1", keys(one), 1).body, body);
  const [signature] = envelope.s;
  for (const part of [envelope, envelope.s, signature, read]) assert.ok(Object.isFrozen(part));
});

test("a changed byte of the payload or the type is refused", async () => {
  const envelope = await seal("revoke.1", body, [one]);
  const changed = {
    ...envelope,
    p: Buffer.from(JSON.stringify({ ...body, reason: "lust" })).toString("base64url"),
  };
  assert.throws(() => openEnvelope(changed, "revoke.1", keys(one), 1), { code: "DOC_UNSIGNED" });
  assert.throws(() => openEnvelope({ ...envelope, t: "label.1" }, "revoke.1", keys(one), 1), {
    code: "DOC_WRONG_TYPE",
  });
  assert.throws(() => openEnvelope({ ...envelope, t: "label.1" }, "label.1", keys(one), 1), {
    code: "DOC_UNSIGNED",
  });
});

test("a signed text with a second reading is refused", async () => {
  const text = JSON.stringify(body);
  const cases = {
    "a duplicate key": text.replace("{", '{"reason":"other",'),
    "white space": `${text} `,
    "another spelling of a letter": text.replace("lost", "\\u006cost"),
    "a byte order mark": `\ufeff${text}`,
    "an unknown field": JSON.stringify({ ...body, more: 1 }),
    "a missing field": JSON.stringify({ ...body, reason: undefined }),
    "a key that JavaScript hides": text.replace("}", ',"__proto__":{}}'),
    "something else than JSON": "lost",
    nothing: "",
  };
  for (const [name, payload] of Object.entries(cases)) {
    const envelope = await forged(payload);
    assert.throws(() => openEnvelope(envelope, "revoke.1", keys(one), 1), { code: "DOC_MALFORMED" }, name);
    assert.throws(() => readUnverified(envelope, "revoke.1"), { code: "DOC_MALFORMED" }, name);
  }
  const notUtf8 = { t: "revoke.1", p: Buffer.from([0x22, 0xff, 0x22]).toString("base64url"), s: [] };
  assert.throws(() => readUnverified(notUtf8, "revoke.1"), { code: "DOC_MALFORMED" });
  const [before = "", after = ""] = text.split("lost");
  const mended = Buffer.concat([Buffer.from(before), Buffer.from([0xff]), Buffer.from(after)]);
  const replaced = { ...notUtf8, p: mended.toString("base64url") };
  assert.throws(() => readUnverified(replaced, "revoke.1"), { message: "revoke.1: it is not UTF-8" });
});

test("an envelope has one form", async () => {
  const envelope = await seal("revoke.1", body, [one]);
  const bad: unknown[] = [
    { ...envelope, x: 1 },
    { ...envelope, p: `${envelope.p}=` },
    { ...envelope, p: "AB" },
    { ...envelope, t: "revoke" },
    { ...envelope, s: [{ k: one.kid.toUpperCase(), s: "" }] },
    { ...envelope, s: Array.from({ length: 33 }, () => envelope.s[0]) },
    null,
    [],
    "{",
    7,
  ];
  for (const value of bad) assert.throws(() => parseEnvelope(value), { code: "DOC_MALFORMED" });
});

test("an envelope over one MiB is refused before it is read", async () => {
  const huge = { t: "revoke.1", p: "A".repeat(1024 * 1024), s: [] };
  assert.throws(() => parseEnvelope(huge), { code: "DOC_TOO_BIG" });
  assert.throws(() => parseEnvelope(JSON.stringify(huge)), { code: "DOC_TOO_BIG" });
  assert.throws(() => parseEnvelope(" ".repeat(3 * 1024 * 1024)), { code: "DOC_TOO_BIG" });
  const half = { k: one.kid, s: "A".repeat(512 * 1024) };
  assert.throws(() => parseEnvelope({ ...huge, p: "", s: [half, half] }), { code: "DOC_TOO_BIG" });
});

test("nothing is sealed that could not be opened", async () => {
  const wrong = { ...body, cluster: "here" };
  await assert.rejects(seal("revoke.1", wrong, [one]), { code: "DOC_MALFORMED" });
});
