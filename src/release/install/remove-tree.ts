import fs from "node:fs";
import path from "node:path";
import { errnoOf, isSkeinError, messageOf, SkeinError } from "../../lib/errors/errors.ts";
import { asSkeinError } from "../../lib/disk/files.ts";
import { mountBelow } from "../../lib/disk/mounts.ts";

/**
 * Removes a tree whose folders may not be writable, and of one that cannot go as a whole all that can.
 * @throws SkeinError MOUNTED, before anything is removed; IO, naming the first file that stays
 */
export function removeTree(dir: string): void {
  if (fs.lstatSync(dir, { throwIfNoEntry: false })?.isDirectory() === true) refuseMounts(dir);
  remove(dir, () => {
    if (process.getuid?.() !== 0) makeWritable(dir);
  });
}

/** Removes what lies in a tree in which nothing is mounted. @throws SkeinError IO, naming the first file that stays */
export function removeWithin(at: string): void {
  remove(at, () => undefined);
}

function remove(at: string, prepare: () => void): void {
  try {
    prepare();
    fs.rmSync(at, { recursive: true, force: true });
  } catch {
    const stays = removeRest(at);
    if (stays !== undefined) throw stays;
  }
}

/**
 * To be asked before anything below a folder is removed, or taken from its owner: what is mounted there is not ours,
 * and would be emptied.
 * @throws SkeinError MOUNTED
 */
export function refuseMounts(dir: string): void {
  const mount = mountBelow(dir);
  if (mount === undefined) return;
  throw new SkeinError("MOUNTED", `something is mounted at ${mount}, which would be emptied`, {
    data: { path: mount },
  });
}

/**
 * To be asked before anything is done about a release that is to go.
 * @throws SkeinError MOUNTED; IO where its folder cannot be moved
 */
export function refuseFixed(dir: string): void {
  refuseMounts(dir);
  const stat = fs.lstatSync(dir, { throwIfNoEntry: false });
  if (stat?.isDirectory() !== true) return;
  try {
    fs.chmodSync(dir, stat.mode & 0o7777);
  } catch (err) {
    throw notRemoved(dir, err);
  }
}

export function makeWritable(dir: string): void {
  const stat = fs.lstatSync(dir, { throwIfNoEntry: false });
  if (stat === undefined || !stat.isDirectory()) return;
  fs.chmodSync(dir, 0o700);
  for (const entry of fs.readdirSync(dir, { withFileTypes: true })) {
    if (entry.isDirectory()) makeWritable(path.join(dir, entry.name));
  }
}

/** The failure of a file or folder that cannot be removed. */
export function notRemoved(at: string, cause: unknown): SkeinError {
  const errno = errnoOf(cause);
  const failure = asSkeinError(cause, at);
  // Some file systems need room for it.
  if (isSkeinError(failure, "DISK_FULL")) return failure;
  return new SkeinError("IO", `${at} cannot be removed: ${errno ?? messageOf(cause)}`, {
    hint: "See whose it and its folder are (ls -ld), and whether one is immutable (lsattr -d; chattr -i lets it go).",
    data: { path: at, errno },
    cause,
  });
}

/** One by one: what stays holds up nothing beside it. @returns why the first of them stays */
function removeRest(at: string): SkeinError | undefined {
  let first: SkeinError | undefined;
  try {
    const stat = fs.lstatSync(at, { throwIfNoEntry: false });
    if (stat === undefined) return undefined;
    if (!stat.isDirectory()) {
      fs.unlinkSync(at);
      return undefined;
    }
    openUp(at);
    for (const name of fs.readdirSync(at)) {
      const stays = removeRest(path.join(at, name));
      first ??= stays;
    }
    if (first === undefined) fs.rmdirSync(at);
    return first;
  } catch (err) {
    return notRemoved(at, err);
  }
}

function openUp(dir: string): void {
  try {
    fs.chmodSync(dir, 0o700);
  } catch {
    // What is in it may go all the same.
  }
}
