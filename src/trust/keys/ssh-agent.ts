import net from "node:net";
import { SkeinError, messageOf } from "../../lib/errors/errors.ts";
import type { KeyId } from "../../lib/text/ids.ts";
import { keyIdOf, type KeyAlg, type Signer } from "./keys.ts";
import { SK_SSH_ED25519, SSH_ED25519, sshSignatureBlob, sshSignedBytes } from "./sshsig.ts";
import { readWire, wireString, type WireReader } from "./ssh-wire.ts";

/** What we say and hear of the ssh-agent protocol (draft-miller-ssh-agent). */
const REQUEST_IDENTITIES = 11;
const IDENTITIES_ANSWER = 12;
const SIGN_REQUEST = 13;
const SIGN_RESPONSE = 14;
const MAX_ANSWER_BYTES = 256 * 1024;
/** A FIDO key waits for a finger, and an agent may ask for a confirmation. */
const ANSWER_WITHIN_MS = 120_000;

/** A signer in the agent, with the comment that `ssh-add -l` shows. */
export interface AgentSigner extends Signer {
  readonly comment: string;
}

export interface AgentOptions {
  /** Path of the agent's socket. Default: `SSH_AUTH_SOCK`. */
  readonly socket?: string;
  readonly signal?: AbortSignal;
}

/**
 * The Ed25519 keys that the agent holds, in its order; keys of other kinds are left out.
 * @throws SkeinError KEY_UNREADABLE when there is no agent or it does not answer
 */
export async function agentSigners(options: AgentOptions = {}): Promise<AgentSigner[]> {
  const identities = (answer: WireReader): AgentSigner[] => {
    const signers: AgentSigner[] = [];
    for (let left = answer.uint32(); left > 0; left--) {
      const wireKey = answer.string();
      const comment = answer.text();
      const key = readKey(wireKey);
      if (key !== undefined) signers.push({ ...key, comment, ...agentKey(wireKey, options) });
    }
    return signers;
  };
  return ask(Buffer.from([REQUEST_IDENTITIES]), { wanted: IDENTITIES_ANSWER, read: identities }, options);
}

/**
 * The agent's signer of one key, or of its only Ed25519 key.
 * @throws SkeinError KEY_UNREADABLE when it has none, or several and `kid` does not say which
 */
export async function agentSigner(
  options: AgentOptions & { readonly kid?: KeyId } = {},
): Promise<AgentSigner> {
  const all = await agentSigners(options);
  const fitting = options.kid === undefined ? all : all.filter(({ kid }) => kid === options.kid);
  const [first, second] = fitting;
  if (first !== undefined && second === undefined) return first;
  const found = all.map(({ comment, kid }) => `${comment} (${kid})`).join(", ");
  const why = first === undefined ? "does not hold the key" : "holds several Ed25519 keys";
  throw new SkeinError("KEY_UNREADABLE", `the ssh-agent ${why}${found === "" ? "" : `: ${found}`}`, {
    hint: first === undefined ? "Add it: ssh-add ~/.ssh/id_ed25519" : "Say which one to use.",
    data: { keys: all.map(({ kid }) => kid) },
  });
}

function agentKey(wireKey: Buffer, options: AgentOptions): Pick<Signer, "sign"> {
  const blobOf = (answer: WireReader): Buffer => sshSignatureBlob(wireKey, answer.string());
  const sign = async (bytes: Uint8Array): Promise<Uint8Array> => {
    const request = [
      Buffer.from([SIGN_REQUEST]),
      wireString(wireKey),
      wireString(sshSignedBytes(bytes)),
      Buffer.alloc(4),
    ];
    return ask(Buffer.concat(request), { wanted: SIGN_RESPONSE, read: blobOf }, options);
  };
  return { sign };
}

function readKey(wireKey: Buffer): { alg: KeyAlg; pub: string; kid: KeyId } | undefined {
  const reader = readWire(wireKey);
  const type = reader.text();
  if (type !== SSH_ED25519 && type !== SK_SSH_ED25519) return undefined;
  const key = {
    alg: type === SK_SSH_ED25519 ? "sk" : "sshsig",
    pub: reader.string().toString("base64url"),
  } as const;
  return { ...key, kid: keyIdOf(key) };
}

interface Answer<T> {
  /** The message's number; any other one is a refusal. */
  readonly wanted: number;
  readonly read: (answer: WireReader) => T;
}

async function ask<T>(request: Buffer, { wanted, read }: Answer<T>, options: AgentOptions): Promise<T> {
  const path = options.socket ?? process.env["SSH_AUTH_SOCK"];
  if (path === undefined || path === "") {
    throw new SkeinError("KEY_UNREADABLE", "no ssh-agent: SSH_AUTH_SOCK is not set", {
      hint: "Start one: eval $(ssh-agent) && ssh-add; or use a key file.",
    });
  }
  try {
    const answer = readWire(await exchange(path, wireString(request), options.signal));
    if (answer.take(1).readUInt8() === wanted) return read(answer);
  } catch (err) {
    options.signal?.throwIfAborted();
    throw new SkeinError("KEY_UNREADABLE", `the ssh-agent at ${path} does not answer: ${messageOf(err)}`, {
      cause: err,
    });
  }
  throw new SkeinError("KEY_UNREADABLE", "the ssh-agent refused", {
    hint: "Is the key still in it (ssh-add -l), and was the question answered?",
  });
}

async function exchange(path: string, request: Buffer, signal?: AbortSignal): Promise<Buffer> {
  const limit = AbortSignal.timeout(ANSWER_WITHIN_MS);
  const stop = signal === undefined ? limit : AbortSignal.any([signal, limit]);
  const socket = net.connect({ path, signal: stop });
  try {
    socket.write(request);
    let heard = Buffer.alloc(0);
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      heard = Buffer.concat([heard, chunk]);
      if (heard.length > MAX_ANSWER_BYTES) throw new RangeError("its answer is too long");
      if (heard.length >= 4 && heard.length >= 4 + heard.readUInt32BE()) return heard.subarray(4);
    }
  } finally {
    socket.destroy();
  }
  throw new Error("it hung up");
}
