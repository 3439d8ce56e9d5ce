import { createPublicKey, generateKeyPairSync, createPrivateKey } from "node:crypto";
import fs from "node:fs/promises";
import path from "node:path";
import { faultPoint } from "../../lib/process/fault.ts";
import { readIfThere, writeFileOnce } from "../../lib/disk/files.ts";
import { fileSigner, generateSigner, type LocalSigner } from "../../trust/keys/keys.ts";

/** The node's own keys: both are made here, never leave, and are mode 0600. */
export interface NodeKeys {
  /** Signs enrolment and receipts, and is the node's identity on the wire. */
  readonly signer: LocalSigner;
  /** Raw X25519 public key, base64url: what secrets are sealed to. */
  readonly sealing: string;
}

/**
 * The keys in `<etc>/node.key` and `<etc>/sealing.key`, made when there are none. Whoever asks at the same time, in
 * this process or another, gets the same ones.
 * @throws SkeinError KEY_UNREADABLE
 */
export async function nodeKeys(etc: string): Promise<NodeKeys> {
  await fs.mkdir(etc, { recursive: true, mode: 0o755 });
  const file = path.join(etc, "node.key");
  if ((await readIfThere(file)) === undefined) {
    const pem = generateSigner().privateKey.export({ format: "pem", type: "pkcs8" });
    await writeFileOnce(file, pem);
    faultPoint("agent.node-key");
  }
  return { signer: await fileSigner(file), sealing: await sealingKey(path.join(etc, "sealing.key")) };
}

async function sealingKey(file: string): Promise<string> {
  if ((await readIfThere(file)) === undefined) {
    const { privateKey } = generateKeyPairSync("x25519");
    await writeFileOnce(file, privateKey.export({ format: "pem", type: "pkcs8" }));
    faultPoint("agent.sealing-key");
  }
  const key = createPrivateKey((await readIfThere(file)) ?? "");
  return createPublicKey(key).export({ format: "jwk" }).x ?? "";
}
