/**
 * Lets git call a hub by itself: its own HTTPS starts in a tenth of the time that a Node takes. After a push that went
 * through the helper, git's settings for the same key, pin and session are left in a file beside the operator's key;
 * `bin/git-remote-skein` uses it while the session lasts and nothing about the cluster was written since.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import fs from "node:fs/promises";
import path from "node:path";
import { text } from "node:stream/consumers";
import type { HubAddress } from "../../api/hub-address.ts";
import { sessionHeader } from "../../api/hub-line.ts";
import { readIfThere, writeFileAtomic } from "../../lib/disk/files.ts";
import type { Paths } from "../../lib/disk/paths.ts";
import { operatorDir } from "../../operator/identity/home.ts";
import type { Session } from "../../operator/identity/session.ts";
import { readUnverified, type Envelope } from "../../trust/document/envelope.ts";
import { msOf } from "../../trust/document/fields.ts";
import { HELPER_DIR } from "../command/context.ts";

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

/** How git says that the server holds another key, whatever TLS it is built on. Nothing but the check says so. */
const REFUSED = /public key does not match pinned public key/;

/**
 * Writes the settings, unless this git does not get through with them or, worse, does not see that a hub has another
 * key: both are tried. What does not work is not tried again for as long as a session lasts.
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
  const program = await findProgram("git-remote-https");
  const address = addressOf(hub, repo);
  const own = { key, program: program ?? "" };
  const document = await session.document();
  const settings = (spki: string): string => settingsOf({ repo, hub: { ...hub, spki }, document }, own);
  const trial = async (spki: string): Promise<Trial> =>
    await tryOut(`${file}.${randomBytes(6).toString("hex")}.try`, settings(spki));
  const works = program !== undefined && (await trial(hub.spki)).code === 0;
  const isPinned = works && REFUSED.test((await trial(NOBODYS_KEY)).stderr);
  await writeFileAtomic(file, isPinned ? settings(hub.spki) : `# ${address} 0\n`);
}

const addressOf = ({ address }: HubAddress, repo: string): string => `https://${address}/v1/git/${repo}`;

interface Target extends Pick<GitCalls, "repo" | "hub"> {
  readonly document: Envelope;
}

interface Own {
  readonly key: string;
  /** git's HTTPS that was tried: another one might not hold to the pin. */
  readonly program: string;
}

/** Its first line is the launcher's: `# ADDRESS UNTIL PROGRAM`, the second in seconds since the epoch. */
function settingsOf({ repo, hub, document }: Target, { key, program }: Own): string {
  const until = Math.floor((msOf(readUnverified(document, "session.1").expires) - SPARE_MS) / 1000);
  const quoted = JSON.stringify(key);
  return [
    `# ${addressOf(hub, repo)} ${until} ${program}`,
    // The whole address: nothing that the user set for a part of it counts more.
    `[http "${addressOf(hub, repo)}"]`,
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
    "\tsslCertPasswordProtected = false",
    // What the user has others told is not the hub's to know.
    "\textraHeader =",
    `\textraHeader = skein-session: ${sessionHeader(document)}`,
    "[credential]",
    "\thelper =",
    '[protocol "https"]',
    "\tallow = always",
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
    // Another push may have removed it.
    const stat = await fs.stat(file).catch(() => undefined);
    if (stat !== undefined && now - stat.mtimeMs >= KEPT_MS) await fs.rm(file, { force: true });
  }
}

/** The first of that name on the PATH, on which git itself puts its own programs first. */
async function findProgram(name: string): Promise<string | undefined> {
  for (const folder of (process.env["PATH"] ?? "").split(path.delimiter)) {
    const file = path.join(folder, name);
    if (path.isAbsolute(folder) && (await mayRun(file))) return file;
  }
  return undefined;
}

async function mayRun(file: string): Promise<boolean> {
  try {
    await fs.access(file, fs.constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

interface Trial {
  readonly code: number | null;
  readonly stderr: string;
}

/** Asks the hub what it has, as a push does, and by the same way. */
async function tryOut(file: string, settings: string): Promise<Trial> {
  await writeFileAtomic(file, settings);
  try {
    const env = { ...process.env, LC_ALL: "C" };
    const launcher = path.join(HELPER_DIR, "git-remote-skein");
    const stdio = ["pipe", "ignore", "pipe"] as const;
    const child = spawn(launcher, ["--try", file], { env, timeout: PROBE_MS, stdio: [...stdio] });
    child.stdin.on("error", () => undefined);
    child.stdin.end("list for-push\n\n");
    const [stderr, [code]] = await Promise.all([
      text(child.stderr),
      once(child, "close") as Promise<[number | null]>,
    ]);
    return { code, stderr };
  } finally {
    await fs.rm(file, { force: true });
  }
}
