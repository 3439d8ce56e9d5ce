import assert from "node:assert/strict";
import { test } from "node:test";
import { generateSigner, verifySignature, type LocalSigner } from "./keys.ts";
import { SSH_ED25519, sshSignatureBlob, sshSignedBytes } from "./sshsig.ts";
import { wireString } from "./ssh-wire.ts";

const message = Buffer.from("what is signed");
const signer = generateSigner();
const keyOf = ({ pub }: LocalSigner, type = SSH_ED25519): Buffer =>
  Buffer.concat([wireString(type), wireString(Buffer.from(pub, "base64url"))]);
const raw = await signer.sign(sshSignedBytes(message));
const signature = Buffer.concat([wireString(SSH_ED25519), wireString(raw)]);
const counts = (blob: Uint8Array, alg: "sshsig" | "sk" = "sshsig"): boolean =>
  verifySignature({ alg, pub: signer.pub }, message, blob);

/** The parts of a good blob, of which one may be another. */
function blobOf(change: Record<string, string | Uint8Array> = {}): Buffer {
  const parts = {
    magic: "SSHSIG",
    version: Buffer.from([0, 0, 0, 1]),
    key: wireString(keyOf(signer)),
    namespace: wireString("skein"),
    reserved: wireString(""),
    hash: wireString("sha512"),
    signature: wireString(signature),
    end: "",
    ...change,
  };
  return Buffer.concat(Object.values(parts).map((part) => Buffer.from(part)));
}

test("an ssh key's signature has one form, and each part of it must be as it is", () => {
  assert.deepEqual(blobOf(), sshSignatureBlob(keyOf(signer), signature));
  assert.equal(counts(blobOf()), true);
  assert.equal(counts(blobOf(), "sk"), false);
  const others: readonly Record<string, string | Uint8Array>[] = [
    { magic: "SSHSIH" },
    { version: Buffer.from([0, 0, 0, 2]) },
    { key: wireString(keyOf(generateSigner())) },
    { key: wireString(keyOf(signer, "ssh-rsa")) },
    { key: wireString(Buffer.concat([keyOf(signer), Buffer.from([0])])) },
    { namespace: wireString("git") },
    { reserved: wireString("x") },
    { hash: wireString("sha256") },
    { signature: wireString(Buffer.concat([wireString("ssh-rsa"), wireString(raw)])) },
    { signature: wireString(Buffer.concat([signature, Buffer.from([0])])) },
    { signature: wireString(Buffer.concat([wireString(SSH_ED25519), wireString(raw.subarray(1))])) },
    { end: "x" },
  ];
  for (const change of others) assert.equal(counts(blobOf(change)), false, JSON.stringify(change));
  const whole = blobOf();
  for (let length = 0; length < whole.length; length++)
    assert.equal(counts(whole.subarray(0, length)), false);
});
