import fs from "node:fs/promises";
import path from "node:path";
import * as z from "zod";
import type { HubAddress } from "../../api/hub-address.ts";
import { messageOf, SkeinError } from "../../lib/errors/errors.ts";
import { readIfThere, writeFileAtomic } from "../../lib/disk/files.ts";
import { pathsFrom, type Paths } from "../../lib/disk/paths.ts";
import { parseEnvelope, type Envelope } from "../../trust/document/envelope.ts";
import { address, clusterId, digest, keyId, spkiDigest } from "../../trust/document/fields.ts";
import { jsonIn } from "../../lib/text/json.ts";
import { noCluster } from "./no-cluster.ts";

/**
 * What an operator's machine keeps of one cluster, under `etc/operator/`: who it is, the pinned charter with all its
 * versions, and what was signed but not yet known to have arrived. A folder of mode 0700.
 */
const configSchema = z.strictObject({
  cluster: clusterId,
  /** Digest of the first charter: what `skein init` prints as the fingerprint. */
  pin: digest,
  name: z.string(),
  key: z.union([
    z.strictObject({ kind: z.literal("file") }),
    z.strictObject({ kind: z.literal("ssh-agent"), kid: keyId }),
  ]),
  /** Asked besides those of the charter. */
  hubs: z.array(z.strictObject({ spki: spkiDigest, address })),
});
export type OperatorConfig = z.infer<typeof configSchema>;

export const operatorDir = (paths: Paths): string => path.join(paths.etc, "operator");
export const keyFile = (paths: Paths): string => path.join(operatorDir(paths), "operator.key");
export const cacheDir = (paths: Paths): string => path.join(operatorDir(paths), "cache");

/** There from the first answer of a hub on. */
const reachedFile = (paths: Paths): string => path.join(operatorDir(paths), "reached");

const configFile = (paths: Paths): string => path.join(operatorDir(paths), "operator.json");
const chartersDir = (paths: Paths): string => path.join(operatorDir(paths), "charters");

export async function makeOperatorDir(paths: Paths): Promise<void> {
  await fs.mkdir(paths.etc, { recursive: true, mode: 0o755 });
  await fs.mkdir(operatorDir(paths), { recursive: true, mode: 0o700 });
  await fs.mkdir(chartersDir(paths), { recursive: true, mode: 0o700 });
  await fs.mkdir(cacheDir(paths), { recursive: true, mode: 0o700 });
}

/** @throws SkeinError NO_CLUSTER */
export async function readConfig(paths: Paths): Promise<OperatorConfig> {
  const config = await configIfThere(paths);
  if (config !== undefined) return config;
  throw noCluster(operatorDir(paths), {
    uid: process.getuid?.() ?? 1,
    sudoUser: process.env["SUDO_USER"],
    isRootOperator: await isThere(operatorDir(pathsFrom({}, 0))),
    hasHome: (process.env["SKEIN_HOME"] ?? "") !== "",
  });
}

const isThere = async (file: string): Promise<boolean> =>
  await fs.stat(file).then(
    () => true,
    () => false,
  );

export async function configIfThere(paths: Paths): Promise<OperatorConfig | undefined> {
  const text = await readIfThere(configFile(paths));
  if (text === undefined) return undefined;
  const parsed = configSchema.safeParse(jsonIn(text));
  if (parsed.success) return parsed.data;
  throw new SkeinError("IO", `${configFile(paths)} is damaged: ${z.prettifyError(parsed.error)}`);
}

/** Did a hub of this cluster ever answer here? Then one that does not is away, and its address is right. */
export const wasReached = async (paths: Paths): Promise<boolean> => await isThere(reachedFile(paths));

export async function noteReached(paths: Paths): Promise<void> {
  if (!(await wasReached(paths))) await writeFileAtomic(reachedFile(paths), "");
}

export async function writeConfig(paths: Paths, config: OperatorConfig): Promise<void> {
  await writeFileAtomic(configFile(paths), `${JSON.stringify(config, undefined, 2)}\n`);
}

/** The chain of charters that this machine has seen, from the first on. */
export async function readCharters(paths: Paths): Promise<Envelope[]> {
  const chain: Envelope[] = [];
  for (let version = 1; ; version++) {
    const text = await readIfThere(charterFile(paths, version));
    if (text === undefined) return chain;
    chain.push(parsedCharter(text, charterFile(paths, version)));
  }
}

function parsedCharter(text: string, file: string): Envelope {
  try {
    return parseEnvelope(text);
  } catch (err) {
    throw new SkeinError("IO", `${file} is damaged: ${messageOf(err)}`, {
      hint: "Put a copy of it there, from another of the operator's machines or a backup.",
      data: { path: file },
      cause: err,
    });
  }
}

export async function keepCharter(paths: Paths, version: number, charter: Envelope): Promise<void> {
  await writeFileAtomic(charterFile(paths, version), JSON.stringify(charter));
}

const charterFile = (paths: Paths, version: number): string =>
  path.join(chartersDir(paths), `${version}.json`);

/** `host:port#spki`: how a hub is told to another machine. */
export function parseHub(text: string): HubAddress | undefined {
  const match = /^(.+:\d+)#([0-9a-f]{64})$/.exec(text);
  const [, where, spki] = match ?? [];
  if (where === undefined || spki === undefined || !address.safeParse(where).success) return undefined;
  return { address: where, spki };
}
