/**
 * Lets git call a hub by itself: its own HTTPS starts in a tenth of the time that a Node takes. After a push that went
 * through the helper, git's settings for the same key, pin and session are left in a file beside the operator's key;
 * `bin/git-remote-skein` uses it while the session lasts and nothing about the cluster was written since.
 */
import { execFile } from "node:child_process";
import fs from "node:fs/promises";
import path from "node:path";
import type { HubAddress } from "../api/hub-address.ts";
import { readIfThere, writeFileAtomic } from "../lib/files.ts";
import type { Paths } from "../lib/paths.ts";
import { operatorDir } from "../operator/home.ts";
import type { Session } from "../operator/session.ts";
import { readUnverified } from "../trust/envelope.ts";
import { msOf } from "../trust/fields.ts";

export interface GitCalls {
  readonly paths: Paths;
  /** As the URL has them: `skein://NAMED/REPO`. */
  readonly named: string;
  readonly repo: string;
  /** The only hub that the URL can mean: git does not try a second one. */
  readonly hub: HubAddress;
  readonly session: Session;
  /** In ms since the epoch. */
  readonly now: number;
}

/** As long as a session. What is older is removed. */
const KEPT_MS = 12 * 3_600_000;
/** A push must not begin with a session that ends in the middle of it. */
const SPARE_MS = 30 * 60_000;
const NOBODYS_KEY = "0".repeat(64);
const PROBE_MS = 5000;

/**
 * Writes the settings, unless this git does not get through with them or, worse, gets through to a hub with another key:
 * that is tried. What does not work is not tried again for as long as a session lasts.
 */
export async function letGitCall(calls: GitCalls): Promise<void> {
  const { paths, named, repo, hub, session, now } = calls;
  const folder = path.join(operatorDir(paths), "git");
  await fs.mkdir(folder, { recursive: true, mode: 0o700 });
  const file = path.join(folder, `${repo}@${named}`);
  if (await wasRefused(file, now)) return;
  await removeOld(folder, now);
  const key = path.join(folder, `${session.identity.spki.slice(0, 32)}.pem`);
  await writeFileAtomic(key, session.identity.key + session.identity.cert);
  const settings = (pin: string): string => settingsOf({ ...calls, hub: { ...hub, spki: pin } }, key);
  const address = addressOf(hub, repo);
  const works = await reaches(address, `${file}.try`, settings(hub.spki));
  const isPinned = works && !(await reaches(address, `${file}.try`, settings(NOBODYS_KEY)));
  await writeFileAtomic(file, isPinned ? settings(hub.spki) : `# ${address} 0\n`);
}

const addressOf = ({ address }: HubAddress, repo: string): string => `https://${address}/v1/git/${repo}`;

/** Its first line is the launcher's: `# ADDRESS UNTIL`, the last in seconds since the epoch. */
function settingsOf({ repo, hub, session }: GitCalls, key: string): string {
  const until = Math.floor((msOf(readUnverified(session.session, "session.1").expires) - SPARE_MS) / 1000);
  const header = Buffer.from(JSON.stringify(session.session)).toString("base64url");
  const quoted = JSON.stringify(key);
  return [
    `# ${addressOf(hub, repo)} ${until}`,
    `[http "https://${hub.address}"]`,
    // No CA, no name: what counts is the hub's key.
    "\tsslVerify = false",
    `\tpinnedPubkey = sha256//${Buffer.from(hub.spki, "hex").toString("base64")}`,
    `\tsslCert = ${quoted}`,
    `\tsslKey = ${quoted}`,
    // Else all CAs of the machine are read, and that is half of what git takes.
    `\tsslCAInfo = ${quoted}`,
    `\tsslCAPath = ${JSON.stringify(path.join(path.dirname(key), "no-ca"))}`,
    "\tsslVersion = tlsv1.3",
    "\tversion = HTTP/1.1",
    "\tproxy =",
    "\tfollowRedirects = false",
    `\textraHeader = skein-session: ${header}`,
    "[credential]",
    "\thelper =",
    "",
  ].join("\n");
}

async function wasRefused(file: string, now: number): Promise<boolean> {
  const text = (await readIfThere(file)) ?? "";
  return / 0$/m.test(text.split("\n", 1)[0] ?? "") && now - (await fs.stat(file)).mtimeMs < KEPT_MS;
}

async function removeOld(folder: string, now: number): Promise<void> {
  for (const name of await fs.readdir(folder)) {
    const file = path.join(folder, name);
    if (now - (await fs.stat(file)).mtimeMs >= KEPT_MS) await fs.rm(file, { force: true });
  }
}

/** Does git get an answer with these settings? */
async function reaches(address: string, file: string, settings: string): Promise<boolean> {
  await writeFileAtomic(file, settings);
  try {
    return await new Promise((resolve) => {
      const env = { ...process.env, ...included(file), GIT_TERMINAL_PROMPT: "0", GIT_ASKPASS: "true" };
      for (const name of Object.keys(env)) if (name.startsWith("GIT_SSL_")) Reflect.deleteProperty(env, name);
      execFile("git", ["ls-remote", address, "HEAD"], { env, timeout: PROBE_MS }, (err) =>
        resolve(err === null),
      );
    });
  } finally {
    await fs.rm(file, { force: true });
  }
}

function included(file: string): Record<string, string> {
  const count = Number(process.env["GIT_CONFIG_COUNT"] ?? 0);
  return {
    GIT_CONFIG_COUNT: String(count + 1),
    [`GIT_CONFIG_KEY_${count}`]: "include.path",
    [`GIT_CONFIG_VALUE_${count}`]: file,
  };
}
