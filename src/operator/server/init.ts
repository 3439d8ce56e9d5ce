import { randomBytes } from "node:crypto";
import os from "node:os";
import type { HubAddress } from "../../api/hub-address.ts";
import type { Clock } from "../../lib/time/clock.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import type { Digest } from "../../lib/text/ids.ts";
import type { Paths } from "../../lib/disk/paths.ts";
import { openCharter } from "../../trust/charter/charter.ts";
import type { Charter } from "../../trust/document/documents.ts";
import { digestOfEnvelope, seal, type Envelope } from "../../trust/document/envelope.ts";
import { spkiDigest, timeOf } from "../../trust/document/fields.ts";
import { fileSigner, generateKeyFile, type Signer } from "../../trust/keys/keys.ts";
import { agentSigner } from "../../trust/keys/ssh-agent.ts";
import {
  configIfThere,
  keepCharter,
  keyFile,
  makeOperatorDir,
  operatorDir,
  readCharters,
  writeConfig,
  type OperatorConfig,
} from "../identity/home.ts";

export interface InitOptions {
  readonly paths: Paths;
  /** How the charter calls the operator; undefined: as the system calls the user. */
  readonly name?: string | undefined;
  /** `ssh-agent`: its Ed25519 key signs. Default: a key file is made. */
  readonly key?: OperatorConfig["key"]["kind"] | undefined;
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
 * @throws SkeinError USAGE where that one is not as wished, KEY_UNREADABLE, IO, DISK_FULL
 */
export async function initCluster(options: InitOptions): Promise<Initialised> {
  const { paths, key = "file" } = options;
  await makeOperatorDir(paths);
  const before = await existing(options);
  if (before !== undefined) return before;
  const signer = await newSigner(paths, key);
  faultPoint("operator.key");
  const [kept] = await readCharters(paths);
  const charter = kept ?? (await firstCharter(options, signer));
  const pin = digestOfEnvelope(charter);
  const { body } = openCharter(charter, pin);
  const listed = Object.entries(body.operators).find(([kid]) => kid === signer.kid)?.[1];
  if (listed === undefined) {
    throw new SkeinError("KEY_UNREADABLE", "the charter that was begun here lists another key", {
      data: { operators: Object.keys(body.operators), key: signer.kid },
    });
  }
  const { name } = listed;
  refuseOtherName(options, name);
  await keepCharter(paths, 1, charter);
  faultPoint("operator.charter");
  await writeConfig(paths, {
    cluster: body.cluster,
    pin,
    name,
    key: key === "file" ? { kind: "file" } : { kind: "ssh-agent", kid: signer.kid },
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

async function existing(options: InitOptions): Promise<Initialised | undefined> {
  const { paths, key } = options;
  const config = await configIfThere(paths);
  const [charter] = await readCharters(paths);
  if (config === undefined || charter === undefined) return undefined;
  refuseOtherName(options, config.name);
  if (key !== undefined && key !== config.key.kind)
    throw isOtherwise(options, `is signed for with ${KEYS[config.key.kind]}`, "--ssh-agent");
  return { cluster: config.cluster, pin: config.pin, charter, operator: config.name, already: true };
}

const KEYS = { file: "a key file", "ssh-agent": "the ssh-agent's key" } as const;

/** What was made stays as it is: who is told nothing would believe that it was made as typed. */
function refuseOtherName(options: InitOptions, name: string): void {
  if (options.name === undefined || options.name === name) return;
  throw isOtherwise(options, `calls its operator ${name}`, "--name");
}

function isOtherwise({ paths }: InitOptions, how: string, flag: string): SkeinError {
  return new SkeinError("USAGE", `the cluster that was made here ${how}`, {
    hint: `Leave ${flag} out. For another cluster, set SKEIN_HOME to another folder; or where this one is of no use yet, move ${operatorDir(paths)} away.`,
    data: { path: operatorDir(paths) },
  });
}

async function newSigner(paths: Paths, key: OperatorConfig["key"]["kind"]): Promise<Signer> {
  if (key === "ssh-agent") return await agentSigner();
  const file = keyFile(paths);
  try {
    return await generateKeyFile(file);
  } catch (err) {
    if (!(err instanceof SkeinError) || err.code !== "KEY_UNREADABLE") throw err;
    return await fileSigner(file);
  }
}

async function firstCharter(options: InitOptions, signer: Signer): Promise<Envelope> {
  const { name = userNameHere() } = options;
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

function hubsOf(hubs: readonly HubAddress[]): Charter["hubs"] {
  const listed: Record<Digest, string[]> = {};
  for (const { spki, address } of hubs) {
    const key = spkiDigest.parse(spki);
    listed[key] = [...(listed[key] ?? []), address];
  }
  return listed;
}
