import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import {
  fileSigner,
  generateKeyFile,
  generateSigner,
  keyIdOf,
  seedOf,
  signerFromSeed,
  verifySignature,
} from "./keys.ts";

const message = Buffer.from("what is signed");

test("a key file is private, is never overwritten and signs as the key that was made", async (t) => {
  const dir = await fs.mkdtemp(path.join(os.tmpdir(), "skein-keys-"));
  atEnd(t, () => fs.rm(dir, { recursive: true }));
  const file = path.join(dir, "operator.key");
  const made = await generateKeyFile(file);
  assert.equal((await fs.stat(file)).mode & 0o777, 0o600);
  await assert.rejects(generateKeyFile(file), { code: "KEY_UNREADABLE" });
  const read = await fileSigner(file);
  assert.equal(read.kid, made.kid);
  assert.equal(verifySignature(made, message, await read.sign(message)), true);
});

test("a key file that others can read is refused, and so is what is no key", async (t) => {
  const dir = await fs.mkdtemp(path.join(os.tmpdir(), "skein-keys-"));
  atEnd(t, () => fs.rm(dir, { recursive: true }));
  const file = path.join(dir, "operator.key");
  await generateKeyFile(file);
  for (const mode of [0o640, 0o604, 0o660]) {
    await fs.chmod(file, mode);
    await assert.rejects(fileSigner(file), { code: "KEY_UNREADABLE", hint: /chmod 600/ });
  }
  const other = path.join(dir, "other.key");
  await fs.writeFile(other, "not a key", { mode: 0o600 });
  await assert.rejects(fileSigner(other), { code: "KEY_UNREADABLE" });
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;
  const pems = [rsa.export({ type: "pkcs8", format: "pem" }), "x".repeat(16_385)];
  for (const [n, pem] of pems.entries()) {
    await fs.writeFile(other, pem);
    const message = [/is not an Ed25519 private key/, /is too large for a key$/][n];
    await assert.rejects(fileSigner(other), { code: "KEY_UNREADABLE", message });
  }
  await assert.rejects(fileSigner(path.join(dir, "absent.key")), {
    code: "KEY_UNREADABLE",
    message: /ENOENT/,
  });
});

test("a seed makes the same key again", () => {
  const signer = generateSigner();
  assert.equal(signerFromSeed(seedOf(signer)).kid, signer.kid);
  assert.throws(() => signerFromSeed(new Uint8Array(31)), { code: "KEY_UNREADABLE" });
});

test("one key under two algorithms is two keys", () => {
  const { pub } = generateSigner();
  const kids = (["raw", "sshsig", "sk"] as const).map((alg) => keyIdOf({ alg, pub }));
  assert.equal(new Set(kids).size, 3);
});

test("a signature is over these bytes, by this key, in this algorithm's form", async () => {
  const signer = generateSigner();
  const signature = await signer.sign(message);
  assert.equal(verifySignature(signer, message, signature), true);
  assert.equal(verifySignature(generateSigner(), message, signature), false);
  assert.equal(verifySignature(signer, Buffer.from("something else"), signature), false);
  assert.equal(verifySignature({ alg: "sshsig", pub: signer.pub }, message, signature), false);
  for (const broken of [
    signature.subarray(1),
    Buffer.concat([signature, Buffer.alloc(1)]),
    new Uint8Array(),
  ]) {
    assert.equal(verifySignature(signer, message, broken), false);
  }
});

test("keys of small order, under which anything would verify, verify nothing", () => {
  const identity = Buffer.alloc(32);
  identity[0] = 1;
  const zeroS = Buffer.concat([identity, Buffer.alloc(32)]);
  for (const raw of [identity, Buffer.alloc(32)]) {
    const key = { alg: "raw", pub: raw.toString("base64url") } as const;
    assert.equal(verifySignature(key, message, zeroS), false);
    assert.equal(verifySignature(key, message, Buffer.alloc(64)), false);
  }
});
