import { randomBytes } from "node:crypto";
import os from "node:os";
import type { HubAddress } from "../api/hub-address.ts";
import type { Clock } from "../lib/clock.ts";
import { SkeinError } from "../lib/errors.ts";
import { faultPoint } from "../lib/fault.ts";
import type { Digest } from "../lib/ids.ts";
import type { Paths } from "../lib/paths.ts";
import { openCharter } from "../trust/charter.ts";
import type { Charter } from "../trust/documents.ts";
import { digestOfEnvelope, seal, type Envelope } from "../trust/envelope.ts";
import { spkiDigest, timeOf } from "../trust/fields.ts";
import { fileSigner, generateKeyFile, type Signer } from "../trust/keys.ts";
import { agentSigner } from "../trust/ssh-agent.ts";
import { configIfThere, keepCharter, keyFile, makeOperatorDir, readCharters, writeConfig } from "./home.ts";

export interface InitOptions {
  readonly paths: Paths;
  /** How the charter calls the operator; undefined: as the system calls the user. */
  readonly name?: string | undefined;
  /** `ssh-agent`: its Ed25519 key signs; else a key file is made. */
  readonly key: "file" | "ssh-agent";
  readonly hubs: readonly HubAddress[];
  readonly clock: Clock;
}

export interface Initialised {
  readonly cluster: string;
  /** The fingerprint. */
  readonly pin: Digest;
  readonly charter: Envelope;
  readonly operator: string;
  /** Was the cluster there already? */
  readonly already: boolean;
}

const CHARTER_YEARS_MS = 2 * 365 * 24 * 3_600_000;
/** No right implies another one, so the only operator gets all of them. */
const ALL_RIGHTS = ["admin", "deploy:*/*", "secrets:*/*", "root:*/*", "enrol:*"];

/**
 * Makes the operator's identity and the first charter of a new cluster. Cut at any point, the next call goes on.
 * Where there is a cluster already, it is shown and left alone.
 * @throws SkeinError KEY_UNREADABLE, IO, DISK_FULL
 */
export async function initCluster(options: InitOptions): Promise<Initialised> {
  const { paths, name = userNameHere() } = options;
  await makeOperatorDir(paths);
  const before = await existing(paths);
  if (before !== undefined) return before;
  const signer = await newSigner(options);
  faultPoint("operator.key");
  const [kept] = await readCharters(paths);
  const charter = kept ?? (await firstCharter(options, name, signer));
  const pin = digestOfEnvelope(charter);
  const { body } = openCharter(charter, pin);
  if (!Object.hasOwn(body.operators, signer.kid)) {
    throw new SkeinError("KEY_UNREADABLE", "the charter that was begun here lists another key", {
      data: { operators: Object.keys(body.operators), key: signer.kid },
    });
  }
  await keepCharter(paths, 1, charter);
  faultPoint("operator.charter");
  await writeConfig(paths, {
    cluster: body.cluster,
    pin,
    name,
    key: options.key === "file" ? { kind: "file" } : { kind: "ssh-agent", kid: signer.kid },
    hubs: [],
  });
  return { cluster: body.cluster, pin, charter, operator: name, already: false };
}

/** In a container the user may be a number that nothing gives a name. */
function userNameHere(): string {
  try {
    return os.userInfo().username;
  } catch {
    return process.env["USER"] ?? process.env["LOGNAME"] ?? "operator";
  }
}

async function existing(paths: Paths): Promise<Initialised | undefined> {
  const config = await configIfThere(paths);
  const [charter] = await readCharters(paths);
  if (config === undefined || charter === undefined) return undefined;
  return { cluster: config.cluster, pin: config.pin, charter, operator: config.name, already: true };
}

async function newSigner(options: InitOptions): Promise<Signer> {
  if (options.key === "ssh-agent") return await agentSigner();
  const file = keyFile(options.paths);
  try {
    return await generateKeyFile(file);
  } catch (err) {
    if (!(err instanceof SkeinError) || err.code !== "KEY_UNREADABLE") throw err;
    return await fileSigner(file);
  }
}

async function firstCharter(options: InitOptions, name: string, signer: Signer): Promise<Envelope> {
  const now = options.clock.now();
  const charter: Charter = {
    cluster: randomBytes(16).toString("hex"),
    version: 1,
    epoch: 0,
    issued: timeOf(now),
    expires: timeOf(now + CHARTER_YEARS_MS),
    recovery: { keys: [signer.kid], threshold: 1 },
    keys: { [signer.kid]: { alg: signer.alg, pub: signer.pub } },
    operators: { [signer.kid]: { name, allow: ALL_RIGHTS } },
    builders: {},
    quorum: {},
    hubs: hubsOf(options.hubs),
    commands: true,
    limits: {},
  };
  return await seal("charter.1", charter, [signer]);
}

export function hubsOf(hubs: readonly HubAddress[]): Charter["hubs"] {
  const listed: Record<Digest, string[]> = {};
  for (const { spki, address } of hubs) {
    const key = spkiDigest.parse(spki);
    listed[key] = [...(listed[key] ?? []), address];
  }
  return listed;
}
