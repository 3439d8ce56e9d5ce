import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hash,
  sign,
  verify,
  type KeyObject,
} from "node:crypto";
import { constants } from "node:fs";
import fs from "node:fs/promises";
import { errnoOf, SkeinError } from "../../lib/errors/errors.ts";
import { asSkeinError, syncDirectory } from "../../lib/disk/files.ts";
import path from "node:path";
import type { Digest, KeyId } from "../../lib/text/ids.ts";
import { verifySshSignature } from "./sshsig.ts";

/** How a key signs: Ed25519 itself, Ed25519 inside OpenSSH's SSHSIG, or a FIDO key (sk-ssh-ed25519) inside it. */
export type KeyAlg = "raw" | "sshsig" | "sk";

/** A public key as the charter records it. */
export interface PublicKey {
  readonly alg: KeyAlg;
  /** Raw 32-byte Ed25519 key, base64url. */
  readonly pub: string;
}

/** Something that can sign: a file, the ssh-agent, a key in memory. */
export interface Signer extends PublicKey {
  readonly kid: KeyId;
  /** Signature over `bytes` in the form of `alg`: 64 bytes for `raw`, an SSHSIG blob otherwise. */
  sign(bytes: Uint8Array): Promise<Uint8Array>;
}

/** A signer whose private key this process holds; TLS needs it too. */
export interface LocalSigner extends Signer {
  readonly privateKey: KeyObject;
}

const PKCS8_ED25519 = Buffer.from("302e020100300506032b657004220420", "hex");
const SPKI_ED25519 = Buffer.from("302a300506032b6570032100", "hex");

/** The same 32 bytes under another algorithm are another key: a signature made for one is none for the other. */
export function keyIdOf(key: PublicKey): KeyId {
  const raw = Buffer.from(key.pub, "base64url");
  return hash("sha256", Buffer.concat([Buffer.from(`skein-key-1\0${key.alg}\0`), raw]), "hex").slice(
    0,
    32,
  ) as KeyId;
}

/** SHA-256 of the SubjectPublicKeyInfo of a raw Ed25519 key: its name on the wire of TLS. */
export function spkiDigestOf(pub: string): Digest {
  return hash("sha256", Buffer.concat([SPKI_ED25519, Buffer.from(pub, "base64url")]), "hex") as Digest;
}

/** Is `signature` one by `key` over `bytes`? Never throws: what cannot be read is no signature. */
export function verifySignature(key: PublicKey, bytes: Uint8Array, signature: Uint8Array): boolean {
  try {
    if (key.alg === "raw") {
      return signature.length === 64 && verify(null, bytes, publicKeyObject(key.pub), signature);
    }
    return verifySshSignature(key.alg, publicKeyObject(key.pub), bytes, signature);
  } catch {
    return false;
  }
}

/** node:crypto's form of a raw 32-byte Ed25519 public key. */
function publicKeyObject(pub: string): KeyObject {
  return createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: pub }, format: "jwk" });
}

/** @throws SkeinError KEY_UNREADABLE when it is not an Ed25519 private key */
export function signerOf(privateKey: KeyObject): LocalSigner {
  if (privateKey.type !== "private" || privateKey.asymmetricKeyType !== "ed25519") {
    throw new SkeinError("KEY_UNREADABLE", "not an Ed25519 private key");
  }
  const pub = createPublicKey(privateKey).export({ format: "jwk" }).x ?? "";
  return {
    alg: "raw",
    pub,
    kid: keyIdOf({ alg: "raw", pub }),
    privateKey,
    sign: async (bytes) => sign(null, bytes, privateKey),
  };
}

/** A new key that lives in memory only. */
export function generateSigner(): LocalSigner {
  return signerOf(generateKeyPairSync("ed25519").privateKey);
}

/** The key of a 32-byte seed: a ticket's line carries one. */
export function signerFromSeed(seed: Uint8Array): LocalSigner {
  if (seed.length !== 32) throw new SkeinError("KEY_UNREADABLE", "a key's seed has 32 bytes");
  return signerOf(
    createPrivateKey({ key: Buffer.concat([PKCS8_ED25519, seed]), format: "der", type: "pkcs8" }),
  );
}

/** The 32 bytes that `signerFromSeed` takes. */
export function seedOf(signer: LocalSigner): Uint8Array {
  return signer.privateKey.export({ format: "der", type: "pkcs8" }).subarray(PKCS8_ED25519.length);
}

/**
 * Writes a new Ed25519 key (PKCS #8 PEM, mode 0600) and returns its signer. Never replaces a file.
 * @throws SkeinError KEY_UNREADABLE when there is a file already, IO, DISK_FULL
 */
export async function generateKeyFile(file: string): Promise<LocalSigner> {
  const signer = generateSigner();
  await writeKeyFile(file, signer);
  return signer;
}

/** Writes `signer`'s private key as `generateKeyFile` does. */
async function writeKeyFile(file: string, signer: LocalSigner): Promise<void> {
  const pem = signer.privateKey.export({ format: "pem", type: "pkcs8" });
  try {
    const handle = await fs.open(file, "wx", 0o600);
    try {
      await handle.writeFile(pem);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await syncDirectory(path.dirname(file));
  } catch (err) {
    if (errnoOf(err) !== "EEXIST") throw asSkeinError(err, file);
    throw new SkeinError("KEY_UNREADABLE", `${file} exists; a key is never overwritten`, {
      data: { path: file },
      cause: err,
    });
  }
}

/**
 * The signer of a key file. A file that others may read is refused: its key must be taken as known to them.
 * @throws SkeinError KEY_UNREADABLE
 */
export async function fileSigner(file: string): Promise<LocalSigner> {
  const pem = await readPrivateFile(file);
  try {
    return signerOf(createPrivateKey(pem));
  } catch (err) {
    throw new SkeinError("KEY_UNREADABLE", `${file} is not an Ed25519 private key in PKCS #8 PEM`, {
      data: { path: file },
      cause: err,
    });
  }
}

async function readPrivateFile(file: string): Promise<string> {
  try {
    // The descriptor is asked for its mode, not the path: the two could name different files.
    const handle = await fs.open(file, constants.O_RDONLY);
    try {
      const { mode, size } = await handle.stat();
      if ((mode & 0o077) !== 0) {
        throw new SkeinError(
          "KEY_UNREADABLE",
          `${file} may be read by others (mode ${(mode & 0o777).toString(8)})`,
          {
            data: { path: file },
            hint: `Run chmod 600 ${file}; if others use this machine, make a new key.`,
          },
        );
      }
      if (size > 16_384) throw new SkeinError("KEY_UNREADABLE", `${file} is too large for a key`);
      return await handle.readFile("utf8");
    } finally {
      await handle.close();
    }
  } catch (err) {
    if (err instanceof SkeinError) throw err;
    throw new SkeinError("KEY_UNREADABLE", `${file}: ${errnoOf(err) ?? "unreadable"}`, {
      data: { path: file },
      cause: err,
    });
  }
}
