import { hash, verify, type KeyObject } from "node:crypto";
import { readWire, wireString, type WireReader } from "./ssh-wire.ts";

/**
 * OpenSSH's signature format (PROTOCOL.sshsig): what `ssh-keygen -Y sign -n skein` makes and an ssh-agent signs.
 * Only SHA-512, only the namespace `skein`, only Ed25519 plain or on a FIDO key.
 */
const MAGIC = Buffer.from("SSHSIG");
const NAMESPACE = "skein";
const VERSION = Buffer.from([0, 0, 0, 1]);
export const SSH_ED25519 = "ssh-ed25519";
export const SK_SSH_ED25519 = "sk-ssh-ed25519@openssh.com";
/** A FIDO signature says with this flag that a person touched the key. */
const USER_PRESENT = 1;

/** The bytes that an ssh key really signs for `message`. */
export function sshSignedBytes(message: Uint8Array): Buffer {
  return Buffer.concat([
    MAGIC,
    wireString(NAMESPACE),
    wireString(""),
    wireString("sha512"),
    wireString(hash("sha512", message, "buffer")),
  ]);
}

/** The SSHSIG blob of an agent's answer. `publicKey` and `signature` are in ssh's own wire form. */
export function sshSignatureBlob(publicKey: Uint8Array, signature: Uint8Array): Buffer {
  return Buffer.concat([
    MAGIC,
    VERSION,
    wireString(publicKey),
    wireString(NAMESPACE),
    wireString(""),
    wireString("sha512"),
    wireString(signature),
  ]);
}

/** Is `blob` a signature of `message` by `key`? Throws when it cannot be read. */
export function verifySshSignature(
  alg: "sshsig" | "sk",
  key: KeyObject,
  message: Uint8Array,
  blob: Uint8Array,
): boolean {
  const outer = readWire(blob);
  if (!outer.take(MAGIC.length).equals(MAGIC) || !outer.take(4).equals(VERSION)) return false;
  const publicKey = readWire(outer.string());
  const header = [outer.text(), outer.text(), outer.text()];
  const signature = readWire(outer.string());
  if (!outer.atEnd() || header.join("\n") !== [NAMESPACE, "", "sha512"].join("\n")) return false;
  const type = alg === "sk" ? SK_SSH_ED25519 : SSH_ED25519;
  if (publicKey.text() !== type || signature.text() !== type) return false;
  if (!publicKey.string().equals(rawOf(key))) return false;
  const signed = sshSignedBytes(message);
  return alg === "sk"
    ? verifyTouched(key, signed, publicKey, signature)
    : verifyPlain(key, signed, publicKey, signature);
}

function verifyPlain(key: KeyObject, signed: Buffer, publicKey: WireReader, signature: WireReader): boolean {
  const raw = signature.string();
  return publicKey.atEnd() && signature.atEnd() && raw.length === 64 && verify(null, signed, key, raw);
}

/** PROTOCOL.u2f: the key signs SHA-256(application), flags, counter, SHA-256(message). */
function verifyTouched(
  key: KeyObject,
  signed: Buffer,
  publicKey: WireReader,
  signature: WireReader,
): boolean {
  const application = publicKey.string();
  const raw = signature.string();
  const flags = signature.take(1);
  const counter = signature.take(4);
  if (!publicKey.atEnd() || !signature.atEnd() || raw.length !== 64) return false;
  if (!application.subarray(0, 4).equals(Buffer.from("ssh:")) || (flags.readUInt8() & USER_PRESENT) === 0) {
    return false;
  }
  const covered = Buffer.concat([
    hash("sha256", application, "buffer"),
    flags,
    counter,
    hash("sha256", signed, "buffer"),
  ]);
  return verify(null, covered, key, raw);
}

function rawOf(key: KeyObject): Buffer {
  return Buffer.from(key.export({ format: "jwk" }).x ?? "", "base64url");
}
