import assert from "node:assert/strict";
import test from "node:test";
import { parseEnvelope } from "../../trust/document/envelope.ts";
import { envelopeText, knownEnvelope, storedEnvelope } from "./envelopes.ts";

const made = (n: number): ReturnType<typeof parseEnvelope> =>
  parseEnvelope({ t: "receipt.1", p: Buffer.from(`${n}`).toString("base64url"), s: [] });

test("what was written is read as the same object, and so is what was read before", () => {
  const envelope = made(1);
  const text = envelopeText(envelope);
  assert.equal(text, JSON.stringify(envelope));
  assert.equal(storedEnvelope(text), envelope);
  assert.equal(knownEnvelope(text), envelope);
  const other = JSON.stringify(made(2));
  assert.equal(knownEnvelope(other), undefined);
  const read = storedEnvelope(other);
  assert.deepEqual(read, JSON.parse(other));
  assert.equal(storedEnvelope(other), read);
});

test("what was forgotten is read anew, and what is no envelope is refused", () => {
  const text = envelopeText(made(3));
  for (let n = 0; n < 600; n++) envelopeText(made(1000 + n));
  assert.equal(knownEnvelope(text), undefined);
  assert.deepEqual(storedEnvelope(text), made(3));
  assert.throws(() => storedEnvelope("{}"), { code: "DOC_MALFORMED" });
});
