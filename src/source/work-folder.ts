import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { tryLockFolder } from "../depot/directory/folder-lock.ts";
import { messageOf } from "../lib/errors/errors.ts";
import { asSkeinError } from "../lib/disk/files.ts";
import { removeTree } from "../release/install/remove-tree.ts";

/** A folder for commands that are not ours, gone when it is disposed of. */
export interface WorkFolder extends Disposable {
  readonly dir: string;
}

/** Locked for as long as its process lives. */
const HELD = "skein-work-";
/** Being made: nobody has locked it yet. */
const NEW = "skein-new-";
/** Beside the lock. */
const DIR = "d";
/** Of folders in use: a lock that nobody refers to any more is let go of when garbage is collected. */
const locks = new Set<Disposable>();

/**
 * What commands leave in it may have folders that are read-only (the modules that Go keeps), which are removed all the
 * same, and files of somebody else's (a container's), which stay: `tell` hears of those, and nobody is held up. A process
 * that is killed leaves its folder: that goes with the next one's.
 */
export function workFolder(tell: (line: string) => void = () => undefined): WorkFolder {
  const within = os.tmpdir();
  sweep(within);
  const { held, lock } = made(within);
  if (lock !== undefined) locks.add(lock);
  return {
    dir: path.join(held, DIR),
    [Symbol.dispose]() {
      try {
        removeTree(held);
      } catch (err) {
        tell(`${held} is left behind: ${messageOf(err)}`);
      }
      if (lock === undefined) return;
      locks.delete(lock);
      lock[Symbol.dispose]();
    },
  };
}

function made(within: string): { readonly held: string; readonly lock: Disposable | undefined } {
  try {
    const fresh = fs.mkdtempSync(path.join(within, NEW));
    fs.mkdirSync(path.join(fresh, DIR), { mode: 0o700 });
    const lock = tryLockFolder(fresh);
    const held = path.join(within, HELD + path.basename(fresh).slice(NEW.length));
    fs.renameSync(fresh, held);
    return { held, lock };
  } catch (err) {
    throw asSkeinError(err, within);
  }
}

/** Removes what processes of this user's left that are not there any more. */
function sweep(within: string): void {
  for (const name of namesIn(within)) {
    if (!name.startsWith(HELD)) continue;
    const held = path.join(within, name);
    try {
      const { uid } = fs.lstatSync(held);
      if (uid !== process.getuid?.()) continue;
      using lock = tryLockFolder(held);
      if (lock !== undefined) removeTree(held);
    } catch {
      // It went meanwhile, or holds what nobody can remove, which was told when it was left.
    }
  }
}

function namesIn(within: string): readonly string[] {
  try {
    return fs.readdirSync(within);
  } catch {
    return []; // whether it can be used shows when a folder is made there
  }
}
