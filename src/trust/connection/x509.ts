/**
 * The smallest X.509 issuer that does the job: one self-signed Ed25519 certificate, version 3 (RFC 5280, RFC 8410).
 * A certificate here is only the container in which TLS carries a public key: both ends compare the key's digest
 * with what the charter or the roster lists, so nothing in it is ever believed and it does not expire.
 */
import { createHash, createPublicKey, randomBytes, sign, type KeyObject } from "node:crypto";
import { digestOf, type Digest } from "../../lib/text/ids.ts";
import { SkeinError } from "../../lib/errors/errors.ts";

const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bits: 0x03,
  octets: 0x04,
  oid: 0x06,
  utf8: 0x0c,
  sequence: 0x30,
  set: 0x31,
  utcTime: 0x17,
  generalizedTime: 0x18,
  version: 0xa0,
  extensions: 0xa3,
} as const;
const OID = {
  ed25519: [1, 3, 101, 112],
  commonName: [2, 5, 4, 3],
  basicConstraints: [2, 5, 29, 19],
  keyUsage: [2, 5, 29, 15],
  extendedKeyUsage: [2, 5, 29, 37],
  subjectKeyId: [2, 5, 29, 14],
  authorityKeyId: [2, 5, 29, 35],
  serverAuth: [1, 3, 6, 1, 5, 5, 7, 3, 1],
  clientAuth: [1, 3, 6, 1, 5, 5, 7, 3, 2],
} as const;
/** RFC 5280 4.1.2.5: the value for a certificate without an end. */
const NO_END = "99991231235959Z";
/** Dates before 2050 must be UTCTime (two-digit year). */
const BEGINNING = "200101000000Z";

/** SHA-256 of a public key's SubjectPublicKeyInfo: what pins, the charter's `hubs` and sessions name. */
export function spkiDigest(key: KeyObject): Digest {
  return digestOf(spkiOf(key));
}

/** A self-signed certificate for an Ed25519 private key, in PEM. `name` (at most 64 bytes) is for people only. */
export function selfSignedCertificate(key: KeyObject, name: string): string {
  if (key.type !== "private" || key.asymmetricKeyType !== "ed25519") {
    throw new SkeinError("KEY_UNREADABLE", `a certificate needs an Ed25519 private key, not ${key.type}`);
  }
  const spki = spkiOf(key);
  const algorithm = sequence(oid(OID.ed25519));
  const subject = sequence(tlv(TAG.set, sequence(oid(OID.commonName), tlv(TAG.utf8, Buffer.from(name)))));
  const body = sequence(
    tlv(TAG.version, tlv(TAG.integer, [2])),
    tlv(TAG.integer, serialNumber()),
    algorithm,
    subject,
    sequence(utcTime(BEGINNING), time(NO_END)),
    subject,
    spki,
    tlv(TAG.extensions, sequence(...extensions(spki))),
  );
  return pem(sequence(body, algorithm, bits(sign(null, body, key))));
}

function spkiOf(key: KeyObject): Buffer {
  const publicKey = key.type === "private" ? createPublicKey(key) : key;
  return publicKey.export({ type: "spki", format: "der" });
}

function extensions(spki: Buffer): Buffer[] {
  const keyId = createHash("sha256").update(spki).digest().subarray(0, 20);
  return [
    extension(OID.basicConstraints, true, sequence()),
    extension(OID.keyUsage, true, bits(Buffer.from([0x80]), 7)),
    extension(OID.extendedKeyUsage, false, sequence(oid(OID.serverAuth), oid(OID.clientAuth))),
    extension(OID.subjectKeyId, false, tlv(TAG.octets, keyId)),
    extension(OID.authorityKeyId, false, sequence(tlv(0x80, keyId))),
  ];
}

function extension(id: readonly number[], critical: boolean, value: Buffer): Buffer {
  return sequence(oid(id), ...(critical ? [tlv(TAG.boolean, [0xff])] : []), tlv(TAG.octets, value));
}

/** Positive, 16 bytes, never starting with a zero byte: DER wants the shortest form. */
function serialNumber(): Buffer {
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  return serial;
}

function utcTime(text: string): Buffer {
  return tlv(TAG.utcTime, Buffer.from(text));
}

function time(text: string): Buffer {
  return tlv(TAG.generalizedTime, Buffer.from(text));
}

function tlv(tag: number, ...parts: (Uint8Array | readonly number[])[]): Buffer {
  const body = Buffer.concat(parts.map((part) => Uint8Array.from(part)));
  return Buffer.concat([Buffer.from([tag, ...lengthOf(body.length)]), body]);
}

function lengthOf(length: number): number[] {
  if (length < 0x80) return [length];
  return length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
}

function sequence(...parts: Buffer[]): Buffer {
  return tlv(TAG.sequence, ...parts);
}

function bits(data: Buffer, unused = 0): Buffer {
  return tlv(TAG.bits, [unused], data);
}

function oid([first = 0, second = 0, ...rest]: readonly number[]): Buffer {
  return tlv(TAG.oid, [first * 40 + second, ...rest.flatMap(base128)]);
}

function base128(value: number): number[] {
  const out = [value & 0x7f];
  for (let rest = value >> 7; rest > 0; rest >>= 7) out.unshift((rest & 0x7f) | 0x80);
  return out;
}

function pem(der: Buffer): string {
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}
