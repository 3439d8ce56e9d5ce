import assert from "node:assert/strict";
import { generateKeyPairSync, X509Certificate } from "node:crypto";
import test from "node:test";
import { selfSignedCertificate, spkiDigest } from "./x509.ts";
import { spkiDigestOf, signerOf } from "../keys/keys.ts";

const ed25519 = () => generateKeyPairSync("ed25519").privateKey;

test("a certificate carries exactly its key, signed by itself", () => {
  const key = ed25519();
  const certificate = new X509Certificate(selfSignedCertificate(key, "hub"));
  assert.equal(certificate.verify(certificate.publicKey), true);
  assert.equal(spkiDigest(certificate.publicKey), spkiDigest(key));
  assert.equal(certificate.subject, "CN=hub");
  assert.equal(certificate.ca, false);
});

test("a certificate does not end", () => {
  const certificate = new X509Certificate(selfSignedCertificate(ed25519(), "node"));
  assert.equal(certificate.validToDate.getUTCFullYear(), 9999);
  assert.equal(certificate.validFromDate.getUTCFullYear(), 2020);
});

test("a certificate is good for both ends of a connection", () => {
  const certificate = new X509Certificate(selfSignedCertificate(ed25519(), "x".repeat(64)));
  assert.deepEqual(certificate.keyUsage, ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]);
});

test("serial numbers are positive, of full length and never alike", () => {
  const key = ed25519();
  const serials = Array.from(
    { length: 50 },
    () => new X509Certificate(selfSignedCertificate(key, "n")).serialNumber,
  );
  assert.equal(new Set(serials).size, 50);
  for (const serial of serials) assert.match(serial, /^[4-7][0-9A-F]{31}$/);
});

test("the digest of a key is the one that documents compute from its raw bytes", () => {
  const key = ed25519();
  assert.equal(spkiDigest(key), spkiDigestOf(signerOf(key).pub));
});

test("another kind of key is refused", () => {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  assert.throws(() => selfSignedCertificate(privateKey, "n"), { code: "KEY_UNREADABLE" });
});
