import fs from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { tryLockFolder } from "../../depot/directory/folder-lock.ts";
import { kernel } from "../../keeper/ffi.ts";
import { asSkeinError } from "../../lib/disk/files.ts";
import { errnoOf, SkeinError } from "../../lib/errors/errors.ts";

/** A program that a killed agent was just starting holds the lock until it has become itself. */
const HELD_MS = 1000;
const AGAIN_MS = 25;
/** Whoever may open a file may lock it. */
const PRIVATE = 0o600;

/**
 * One agent for one home. The lock is the kernel's on a file that no other user can open, and not a name that all users
 * share: an app could take that first, and no agent would start any more. It ends with its holder: after `kill -9` nobody
 * has to clean up.
 * @throws SkeinError AGENT_RUNNING, IO
 */
export async function lockHome(dir: string): Promise<Disposable> {
  const real = fs.realpathSync(dir);
  const until = performance.now() + HELD_MS;
  let held = tryLock(real);
  while (held === undefined) {
    if (performance.now() > until)
      throw new SkeinError("AGENT_RUNNING", `an agent runs already for ${real}`, { data: { dir: real } });
    await sleep(AGAIN_MS);
    held = tryLock(real);
  }
  return held;
}

/** @returns undefined where somebody else has it */
function tryLock(dir: string): Disposable | undefined {
  const calls = kernel();
  if (calls === undefined) return tryLockFolder(dir, PRIVATE);
  const fd = openedOrMade(path.join(dir, "agent.lock"));
  if (calls.lockFile(fd)) return { [Symbol.dispose]: () => fs.closeSync(fd) };
  fs.closeSync(fd);
  return undefined;
}

/** Only read where it is there: so it is locked also on a disk that has turned read-only. */
function openedOrMade(file: string): number {
  try {
    return fs.openSync(file, "r");
  } catch (err) {
    if (errnoOf(err) !== "ENOENT") throw asSkeinError(err, file);
  }
  try {
    return fs.openSync(file, "a", PRIVATE);
  } catch (err) {
    throw asSkeinError(err, file);
  }
}
