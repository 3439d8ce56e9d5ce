import fs from "node:fs";
import path from "node:path";
import type { DatabaseSync } from "node:sqlite";
import type { Clock } from "../../lib/time/clock.ts";
import { asSkeinError } from "../../lib/disk/files.ts";
import { retryDelayMs } from "../../lib/time/retry.ts";

const WAIT = { baseMs: 1, maxMs: 50, random: Math.random } as const;
/** What SQLite calls a lock that somebody else holds (SQLITE_BUSY). */
const BUSY = 5;

/** Whoever may open the file may take the turn: those who write in the folder, as their umask has it, and its readers. */
const SHARED = 0o666;

/**
 * The one turn to write in a folder, among all processes that see it, containers with a shared volume included. It
 * is SQLite's lock on an empty file: the system drops it with its holder, so after `kill -9` nobody has to clean up.
 * Waits until `signal` aborts.
 * @param mode of the file that is locked. 0600 where others see into the folder who are not to hold its owner up
 */
export async function lockFolder(
  dir: string,
  clock: Clock,
  signal: AbortSignal,
  mode = SHARED,
): Promise<Disposable> {
  const db = openLock(dir, mode);
  try {
    for (let n = 1; ; n++) {
      signal.throwIfAborted();
      if (entered(db)) return heldBy(db);
      await clock.sleep(retryDelayMs(n, WAIT), signal);
    }
  } catch (err) {
    db.close();
    throw err;
  }
}

/** The same without waiting. @returns undefined where somebody else has the turn */
export function tryLockFolder(dir: string, mode = SHARED): Disposable | undefined {
  const db = openLock(dir, mode);
  try {
    if (entered(db)) return heldBy(db);
  } catch (err) {
    db.close();
    throw err;
  }
  db.close();
  return undefined;
}

type Lock = Pick<DatabaseSync, "exec" | "close">;

function openLock(dir: string, mode: number): Lock {
  // Loaded here: most commands write into no folder.
  const { DatabaseSync } = process.getBuiltinModule("node:sqlite");
  const file = path.join(dir, ".lock");
  makeFile(file, mode);
  return new DatabaseSync(file, { timeout: 0 });
}

const heldBy = (db: Lock): Disposable => ({ [Symbol.dispose]: () => db.close() });

/**
 * SQLite lets none but its maker write to a file that it makes, and takes no turn on one that it may only read. One that
 * is there is not opened: to close it again would drop a turn that this very process has (POSIX locks go so).
 */
function makeFile(file: string, mode: number): void {
  if (fs.existsSync(file)) return;
  try {
    fs.closeSync(fs.openSync(file, "a", mode));
  } catch (err) {
    throw asSkeinError(err, file);
  }
}

function entered(db: Lock): boolean {
  try {
    // Its journal in memory: on a disk without room a file beside the lock could not be made.
    db.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
    return true;
  } catch (err) {
    if (err instanceof Error && "errcode" in err && err.errcode === BUSY) return false;
    throw err;
  }
}
