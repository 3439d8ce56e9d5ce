import * as z from "zod";
import { deepFrozen } from "../../lib/memory/deep-frozen.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { digestOf, type Digest, type KeyId } from "../../lib/text/ids.ts";
import { DOCUMENT_SCHEMAS, type DocumentBody, type DocumentType } from "./documents.ts";
import { isBase64Url, keyId } from "./fields.ts";
import { verifySignature, type PublicKey, type Signer } from "../keys/keys.ts";

/** Largest envelope, counted over the characters of its three fields. */
const MAX_ENVELOPE_BYTES = 1024 * 1024;
const MAX_SIGNATURES = 32;
/** An SSHSIG of a FIDO key has about 300 bytes. */
const MAX_SIGNATURE_CHARS = 2048;

const base64url = z.string().refine(isBase64Url, "not base64url in its one spelling");

/** What was found out about an envelope. All of it follows from bytes that cannot change any more. */
interface Findings {
  digest?: Digest;
  body?: unknown;
  /** By the key's algorithm and bytes, and the signature. */
  readonly signatures: Map<string, boolean>;
}

/** Each step that leads from an order to its deed opens the same few documents anew: read once, they are looked up. */
const FINDINGS = new WeakMap<object, Findings>();

/** What was read from an object that cannot change any more. */
const READ = new WeakMap<object, Envelope>();

/** How every signed document travels: type, payload, signatures (docs/formats/envelope.md). Frozen once it is read. */
export const envelopeSchema = z
  .strictObject({
    t: z.string().regex(/^[a-z]{1,32}\.[1-9]\d{0,3}$/),
    p: base64url.max(MAX_ENVELOPE_BYTES),
    s: z.array(z.strictObject({ k: keyId, s: base64url.max(MAX_SIGNATURE_CHARS) })).max(MAX_SIGNATURES),
  })
  .overwrite(frozen);
export type Envelope = z.infer<typeof envelopeSchema>;

/** A document whose signatures were checked. */
export interface Opened<T extends DocumentType> {
  readonly body: DocumentBody<T>;
  readonly digest: Digest;
  /** The keys that signed, of those asked for; each counts once. */
  readonly signers: ReadonlySet<KeyId>;
}

/**
 * Reads an envelope from JSON or from what JSON.parse made of it. Checks its form, no signature.
 * @throws SkeinError DOC_MALFORMED, DOC_TOO_BIG
 */
export function parseEnvelope(source: unknown): Envelope {
  const value = typeof source === "string" ? parseText(source) : source;
  const before = readBefore(value);
  if (before !== undefined) return before;
  const size = roughSize(value);
  if (size > MAX_ENVELOPE_BYTES) {
    throw new SkeinError("DOC_TOO_BIG", `an envelope of ${size} bytes; the most is ${MAX_ENVELOPE_BYTES}`);
  }
  const parsed = envelopeSchema.safeParse(value);
  if (!parsed.success) throw malformed("envelope", z.prettifyError(parsed.error));
  if (isFrozen(value, parsed.data)) READ.set(value, parsed.data);
  return parsed.data;
}

/**
 * Signs a document.
 * @throws SkeinError DOC_MALFORMED when the body is not one of its type, DOC_TOO_BIG
 */
export async function seal<T extends DocumentType>(
  type: T,
  body: DocumentBody<T>,
  signers: readonly Signer[],
): Promise<Envelope> {
  const bytes = Buffer.from(JSON.stringify(body));
  parseBody(type, bytes);
  const unsigned: Envelope = { t: type, p: bytes.toString("base64url"), s: [] };
  let envelope = unsigned;
  for (const signer of signers) envelope = await addSignature(envelope, signer);
  return parseEnvelope(envelope);
}

/** The envelope with `signer`'s signature too: how several operators sign one document. */
export async function addSignature(envelope: Envelope, signer: Signer): Promise<Envelope> {
  const signature = await signer.sign(signedBytes(envelope));
  const others = envelope.s.filter(({ k }) => k !== signer.kid);
  return { ...envelope, s: [...others, { k: signer.kid, s: Buffer.from(signature).toString("base64url") }] };
}

/**
 * Checks the signatures first, then reads exactly the bytes they cover.
 * @param keys those that may sign this document; signatures by others are ignored
 * @throws SkeinError DOC_WRONG_TYPE, DOC_TOO_BIG, DOC_UNSIGNED, DOC_MALFORMED
 */
export function openEnvelope<T extends DocumentType>(
  source: unknown,
  type: T,
  keys: ReadonlyMap<KeyId, PublicKey>,
  threshold: number,
): Opened<T> {
  const envelope = typedEnvelope(source, type);
  const signers = new Set<KeyId>();
  for (const { k, s } of envelope.s) {
    const key = keys.get(k);
    if (key === undefined || signers.has(k)) continue;
    if (isSigned(envelope, key, s)) signers.add(k);
  }
  if (threshold < 1 || signers.size < threshold) {
    throw new SkeinError(
      "DOC_UNSIGNED",
      `${type}: ${signers.size} of ${threshold} signatures by keys that may sign it`,
      {
        data: { type, valid: signers.size, needed: threshold, signed: envelope.s.map(({ k }) => k) },
      },
    );
  }
  return { body: bodyOf(type, envelope), digest: digestOfEnvelope(envelope), signers };
}

/**
 * The body without a look at the signatures: only to find out which keys may sign it, or to show it.
 * @throws SkeinError DOC_WRONG_TYPE, DOC_TOO_BIG, DOC_MALFORMED
 */
export function readUnverified<T extends DocumentType>(source: unknown, type: T): DocumentBody<T> {
  return bodyOf(type, typedEnvelope(source, type));
}

/** SHA-256 of the bytes that signatures cover: type and payload. More signatures do not change it. */
export function digestOfEnvelope(envelope: Envelope): Digest {
  const found = FINDINGS.get(envelope);
  if (found === undefined) return digestOf(signedBytes(envelope));
  return (found.digest ??= digestOf(signedBytes(envelope)));
}

/** The envelope that `value` is, or was read as; undefined where it was not read here. */
function readBefore(value: unknown): Envelope | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  return FINDINGS.has(value) ? (value as Envelope) : READ.get(value);
}

function isSigned(envelope: Envelope, key: PublicKey, signature: string): boolean {
  const { signatures } = findingsOf(envelope);
  const name = `${key.alg} ${key.pub} ${signature}`;
  const known = signatures.get(name);
  if (known !== undefined) return known;
  const isValid = verifySignature(key, signedBytes(envelope), Buffer.from(signature, "base64url"));
  signatures.set(name, isValid);
  return isValid;
}

function bodyOf<T extends DocumentType>(type: T, envelope: Envelope): DocumentBody<T> {
  const found = findingsOf(envelope);
  return (found.body ??= deepFrozen(parseBody(type, payloadOf(envelope)))) as DocumentBody<T>;
}

function findingsOf(envelope: Envelope): Findings {
  const found = FINDINGS.get(envelope);
  if (found === undefined) throw new SkeinError("INTERNAL", "an envelope that was not read");
  return found;
}

/** Called with what has the right fields; where one of them is refused, nobody gets what is made here. */
function frozen<T extends { s: unknown[] }>(envelope: T): T {
  for (const signature of envelope.s) Object.freeze(signature);
  Object.freeze(envelope.s);
  FINDINGS.set(envelope, { signatures: new Map() });
  return Object.freeze(envelope);
}

/** Whole: an envelope goes three deep. */
function isFrozen(value: unknown, { s }: Envelope): value is object {
  if (typeof value !== "object" || value === null || !("s" in value) || !Array.isArray(value.s)) return false;
  const parts: readonly unknown[] = value.s;
  return s.length === parts.length && [value, parts, ...parts].every(Object.isFrozen);
}

/** DSSE's pre-authentication encoding: no two pairs of type and payload have the same. */
function signedBytes(envelope: Envelope): Buffer {
  const payload = payloadOf(envelope);
  const head = `DSSEv1 ${Buffer.byteLength(envelope.t)} ${envelope.t} ${payload.length} `;
  return Buffer.concat([Buffer.from(head), payload]);
}

function payloadOf(envelope: Envelope): Buffer {
  return Buffer.from(envelope.p, "base64url");
}

function typedEnvelope(source: unknown, type: DocumentType): Envelope {
  const envelope = parseEnvelope(source);
  if (envelope.t === type) return envelope;
  throw new SkeinError("DOC_WRONG_TYPE", `a ${envelope.t} where a ${type} belongs`, {
    data: { type: envelope.t, expected: type },
  });
}

/**
 * A payload must be the very text that JSON.stringify writes for its value. That leaves one reading of it:
 * no duplicate keys, no number that loses digits, no second spelling of a string.
 */
function parseBody<T extends DocumentType>(type: T, bytes: Uint8Array): DocumentBody<T> {
  const text = decode(type, bytes);
  const value = parseText(text);
  // zod's records skip this key silently; nothing that is signed may be skipped.
  if (JSON.stringify(value) !== text || text.includes('"__proto__":')) {
    throw malformed(type, "its JSON is not in the one form that documents have");
  }
  const parsed = DOCUMENT_SCHEMAS[type].safeParse(value);
  if (!parsed.success) throw malformed(type, z.prettifyError(parsed.error));
  return parsed.data as DocumentBody<T>;
}

function decode(type: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw malformed(type, "it is not UTF-8");
  }
}

function parseText(text: string): unknown {
  if (text.length > 2 * MAX_ENVELOPE_BYTES) {
    throw new SkeinError("DOC_TOO_BIG", `a document of ${text.length} characters`);
  }
  try {
    return JSON.parse(text);
  } catch {
    throw malformed("document", "it is not JSON");
  }
}

/** Bounds the work before any pattern runs over the strings. */
function roughSize(value: unknown): number {
  if (typeof value === "string") return value.length;
  if (Array.isArray(value)) return value.reduce<number>((sum, item) => sum + roughSize(item), 0);
  if (typeof value !== "object" || value === null) return 1;
  return Object.values(value).reduce<number>((sum, item) => sum + roughSize(item), 0);
}

function malformed(type: string, why: string): SkeinError {
  return new SkeinError("DOC_MALFORMED", `${type}: ${why}`, { data: { type } });
}
