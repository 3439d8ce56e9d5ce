/** Makes the start-up snapshot of the package that this lies in. Started by begin.ts; what it did is in the stamp. */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { syncDirectory, writeFileAtomic } from "../../lib/files.ts";
import { bootId, identityOf, NONE, type Place, placeOf, programIn, snapshotsDir, stateOf } from "./place.ts";

const MAKE_MS = 120_000;
const TRY_MS = 30_000;
/** What is older was left by one that was killed. */
const STALE_MS = 10 * 60_000;
const run = promisify(execFile);

/** @param root of the package; Node's own flags are those that the launcher gives */
export async function makeSnapshot(root: string, env: NodeJS.ProcessEnv): Promise<void> {
  const place = placeOf(root, env);
  const all = snapshotsDir(env);
  fs.mkdirSync(place.folder, { recursive: true, mode: 0o700 });
  if (!isPrivate(all) || !isPrivate(place.folder)) return;
  removeLeftOver(all);
  const lock = path.join(place.folder, "making");
  if (!takeLock(lock)) return;
  try {
    const state = stateOf(place);
    if (state === "fits" || state === "none") return;
    if (state !== "other boot" || !(await starts(place.snapshot, root, env))) await make(place, root, env);
    else await stamp(place, identitiesOf(place));
  } finally {
    fs.rmSync(lock, { force: true });
  }
}

/** Others could put a program of theirs there. */
function isPrivate(folder: string): boolean {
  const { uid, mode } = fs.lstatSync(folder);
  return uid === process.getuid?.() && (mode & 0o077) === 0;
}

function takeLock(lock: string): boolean {
  try {
    fs.closeSync(fs.openSync(lock, "wx", 0o600));
    return true;
  } catch {
    return false;
  }
}

/** Locks and unfinished snapshots of those that were killed; snapshots of packages that are gone. */
function removeLeftOver(all: string): void {
  for (const name of fs.readdirSync(all, { recursive: true, encoding: "utf8" })) {
    const file = path.join(all, name);
    const stat = fs.lstatSync(file, { throwIfNoEntry: false });
    if (stat?.isFile() !== true) continue;
    const isOld = Date.now() - stat.mtimeMs > STALE_MS;
    const isUnfinished = path.basename(name) === "making" || name.endsWith(".tmp");
    const root = path.join("/", path.dirname(name));
    if (isUnfinished ? isOld : !fs.existsSync(programIn(root))) fs.rmSync(file, { force: true });
  }
}

async function make(place: Place, root: string, env: NodeJS.ProcessEnv): Promise<void> {
  const before = identitiesOf(place);
  const aside = `${place.snapshot}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    await freeze(place.program, aside, env);
    fs.chmodSync(aside, 0o600);
    if (!(await starts(aside, root, env))) throw new Error("it does not start");
    await putInPlace(aside, place.snapshot);
  } catch {
    return await writeStamp(place, [NONE, ...before]);
  } finally {
    fs.rmSync(aside, { force: true });
  }
  await stamp(place, before);
}

async function freeze(program: string, to: string, env: NodeJS.ProcessEnv): Promise<void> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-snapshot-"));
  try {
    const own = { PATH: env["PATH"], HOME: dir, GIT_CONFIG_NOSYSTEM: "1", LC_ALL: "C" };
    const words = ["--snapshot-blob", to, "--build-snapshot", program];
    await run(process.execPath, words, { cwd: dir, env: own, timeout: MAKE_MS, killSignal: "SIGKILL" });
  } finally {
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

/** Whether the program begins with it and does something. */
async function starts(snapshot: string, root: string, env: NodeJS.ProcessEnv): Promise<boolean> {
  const flags = [...process.execArgv, "--snapshot-blob", snapshot];
  try {
    const words = [...flags, path.join(root, "dist/skein.mjs"), "deploy", "--help"];
    const own = { PATH: env["PATH"] };
    const { stdout } = await run(process.execPath, words, {
      env: own,
      timeout: TRY_MS,
      killSignal: "SIGKILL",
    });
    return stdout.includes("Usage: skein deploy");
  } catch {
    return false;
  }
}

/** Whole on the disk before anybody can find it. */
async function putInPlace(aside: string, file: string): Promise<void> {
  const handle = fs.openSync(aside, "r");
  try {
    fs.fsyncSync(handle);
  } finally {
    fs.closeSync(handle);
  }
  fs.renameSync(aside, file);
  await syncDirectory(path.dirname(file));
}

function identitiesOf({ program }: Place): string[] {
  return [identityOf(process.execPath) ?? "", identityOf(program) ?? ""];
}

/** From here on the launcher uses it: unless Node or the program was replaced meanwhile. */
async function stamp(place: Place, before: readonly string[]): Promise<void> {
  if (identitiesOf(place).join() !== before.join()) return;
  await writeStamp(place, [bootId() ?? NONE, ...before, identityOf(place.snapshot) ?? ""]);
}

async function writeStamp({ stamp: file }: Place, lines: readonly string[]): Promise<void> {
  await writeFileAtomic(file, `${lines.join("\n")}\n`);
}
