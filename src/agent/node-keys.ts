import { createPublicKey, generateKeyPairSync, createPrivateKey } from "node:crypto";
import fs from "node:fs/promises";
import path from "node:path";
import { faultPoint } from "../lib/fault.ts";
import { readIfThere, writeFileAtomic } from "../lib/files.ts";
import { fileSigner, generateSigner, type LocalSigner } from "../trust/keys.ts";

/** The node's own keys: both are made here, never leave, and are mode 0600. */
export interface NodeKeys {
  /** Signs enrolment and receipts, and is the node's identity on the wire. */
  readonly signer: LocalSigner;
  /** Raw X25519 public key, base64url: what secrets are sealed to. */
  readonly sealing: string;
}

/**
 * The keys in `<etc>/node.key` and `<etc>/sealing.key`, made when there are none.
 * @throws SkeinError KEY_UNREADABLE
 */
export async function nodeKeys(etc: string): Promise<NodeKeys> {
  await fs.mkdir(etc, { recursive: true, mode: 0o755 });
  const file = path.join(etc, "node.key");
  if ((await readIfThere(file)) === undefined) {
    const pem = generateSigner().privateKey.export({ format: "pem", type: "pkcs8" });
    await writeFileAtomic(file, pem);
    faultPoint("agent.node-key");
  }
  return { signer: await fileSigner(file), sealing: await sealingKey(path.join(etc, "sealing.key")) };
}

async function sealingKey(file: string): Promise<string> {
  const known = await readIfThere(file);
  const key = known === undefined ? generateKeyPairSync("x25519").privateKey : createPrivateKey(known);
  if (known === undefined) {
    await writeFileAtomic(file, key.export({ format: "pem", type: "pkcs8" }));
    faultPoint("agent.sealing-key");
  }
  return createPublicKey(key).export({ format: "jwk" }).x ?? "";
}
