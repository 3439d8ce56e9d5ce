import { randomBytes } from "node:crypto";
import fs from "node:fs/promises";
import path from "node:path";
import { backup, DatabaseSync } from "node:sqlite";
import { errnoOf, type ErrorCode, messageOf, isSkeinError, SkeinError } from "../lib/errors/errors.ts";
import { faultPoint } from "../lib/process/fault.ts";
import { asSkeinError, madeFolders, refuseNoFolder, syncDirectory } from "../lib/disk/files.ts";
import { APPLICATION_ID, FORMAT, SCHEMA } from "./sqlite-tables.ts";

/**
 * A store is one SQLite file in WAL mode. It comes to be whole under another name and is then renamed, so that a
 * file under the store's name that is empty or cut short is damage and never a store that was just being made.
 */

/** Opens the store at `file`, making an empty one when there is none. Held alone: nobody else can open it. */
export async function openFile(file: string): Promise<DatabaseSync> {
  if (!(await exists(file))) {
    // Another process may make it just now.
    if ((await exists(`${file}-wal`)) && !(await exists(file)))
      throw corrupt(file, "its main file is missing, its journal is there");
    await create(file);
  }
  const db = connect(file);
  try {
    checkWhole(db, file);
    return db;
  } catch (err) {
    db.close();
    throw err;
  }
}

/** How many pages (of 4 KiB) one step of a backup copies; writers wait for a step. */
const BACKUP_STEP = 1000;

/**
 * Copies an open store to `target` while it is used; the copy appears whole or not at all. No transaction may be open
 * on `db` from the call of `starting` until the promise that it is given resolves: a first step that meets one is
 * told "busy", and Node takes a backup that has counted no pages yet for one that failed. Later steps that meet one
 * are repeated.
 * @throws SkeinError NOT_FOUND where there is no folder for it
 */
export async function backupFile(
  db: DatabaseSync,
  target: string,
  starting: (begun: Promise<void>) => void,
): Promise<void> {
  refuseNoFolder(target);
  await installed(target, async (aside) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    starting(promise);
    try {
      await backup(db, aside, { rate: BACKUP_STEP, progress: () => resolve() });
    } finally {
      resolve();
    }
  });
}

/**
 * Puts the backup `from` in the place of the store at `target`, which no process may have open, under a new
 * incarnation. A crash leaves the old store or the new one.
 * @throws SkeinError NOT_FOUND, STORE_CORRUPT when the backup is damaged, STORE_BUSY when the store is open
 */
export async function restoreFile(from: string, target: string): Promise<void> {
  const hint = "Name the file of a backup.";
  if (!(await exists(from))) throw new SkeinError("NOT_FOUND", `there is no ${from}`, { hint });
  if (!(await fs.stat(from)).isFile()) throw new SkeinError("NOT_FOUND", `${from} is no file`, { hint });
  await installed(target, async (aside) => {
    await fs.copyFile(from, aside);
    // A copy made by hand of a stopped hub's file may have its journal beside it.
    if (await exists(`${from}-wal`)) await fs.copyFile(`${from}-wal`, `${aside}-wal`);
    const db = opened(aside, from);
    try {
      checkWhole(db, from);
      db.prepare("UPDATE meta SET value = ? WHERE name = 'incarnation'").run(newIncarnation());
      fold(db);
    } finally {
      db.close();
    }
    await emptyJournal(target);
  });
}

/** The copy is one of `from`: that is what a person named. */
function opened(aside: string, from: string): DatabaseSync {
  try {
    return connect(aside);
  } catch (err) {
    throw isSkeinError(err, "STORE_CORRUPT") ? corrupt(from, "it is no store", err) : err;
  }
}

/** Where others make it at the same time, theirs is as good: a store is never put in the place of another one. */
async function create(file: string): Promise<void> {
  const write = async (aside: string): Promise<void> => {
    const db = connect(aside);
    try {
      db.exec(SCHEMA);
      const put = db.prepare("INSERT INTO meta VALUES(?, ?)");
      put.run("incarnation", newIncarnation());
      put.run("revision", "1");
      put.run("compacted", "1");
      fold(db);
    } finally {
      db.close();
    }
  };
  await installed(file, write, placeNew);
}

const NO_LINKS = ["EPERM", "ENOTSUP", "ENOSYS", "EMLINK"];

/** Unlike a rename, a link takes the place of nothing. */
async function placeNew(aside: string, target: string): Promise<void> {
  try {
    await fs.link(aside, target);
  } catch (err) {
    const errno = errnoOf(err) ?? "";
    if (NO_LINKS.includes(errno)) return await fs.rename(aside, target);
    if (errno !== "EEXIST") throw err;
  }
  await fs.rm(aside);
}

/** Makes a file aside with `write`, flushes it and renames it to `target`, or places it there otherwise. */
async function installed(
  target: string,
  write: (aside: string) => Promise<void>,
  place: (aside: string, target: string) => Promise<void> = fs.rename,
): Promise<void> {
  const aside = `${target}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    await madeFolders(path.dirname(target), 0o700);
    await fs.writeFile(aside, "", { flag: "wx", mode: 0o600 });
    await write(aside);
    const handle = await fs.open(aside, "r+");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
    faultPoint("store.install");
    await place(aside, target);
    await syncDirectory(path.dirname(target));
  } catch (err) {
    for (const suffix of ["", "-wal", "-journal"]) await fs.rm(aside + suffix, { force: true });
    throw asStoreError(err, target);
  }
}

/**
 * Leaves no journal beside the store that is to be replaced: SQLite would apply it to the new file. Opening and
 * closing folds it into the old file first, so that a crash before the rename leaves the old store whole.
 */
async function emptyJournal(target: string): Promise<void> {
  if (!(await exists(target))) return;
  try {
    const old = connect(target);
    try {
      fold(old);
    } finally {
      old.close();
    }
  } catch (err) {
    const known = asStoreError(err, target);
    // A damaged store is what one restores over.
    if (!(known instanceof SkeinError) || known.code !== "STORE_CORRUPT") throw known;
  }
  faultPoint("store.journal-folded");
  await fs.rm(`${target}-wal`, { force: true });
  await fs.rm(`${target}-shm`, { force: true });
}

/** Folding the journal into the file has fsyncs of its own: it is done every 4,000 pages (16 MiB), not every 1,000. */
const SETTINGS = `
  PRAGMA synchronous = FULL;
  PRAGMA wal_autocheckpoint = 4000;
  PRAGMA journal_size_limit = 67108864;
  PRAGMA temp_store = MEMORY;
`;

/** Exclusive locking: one hub per store, a lock that dies with its process, and no shared-memory file. */
function connect(file: string): DatabaseSync {
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(file, { timeout: 0 });
    db.exec("PRAGMA locking_mode = EXCLUSIVE");
    db.exec("PRAGMA journal_mode = WAL");
    db.exec(SETTINGS);
    return db;
  } catch (err) {
    db?.close();
    throw asStoreError(err, file);
  }
}

function checkWhole(db: DatabaseSync, file: string): void {
  try {
    if (pragma(db, "application_id") !== APPLICATION_ID) throw corrupt(file, "it is not a store of Skein's");
    const format = pragma(db, "user_version");
    if (format !== FORMAT)
      throw corrupt(file, `its format is ${String(format)}, this version reads ${FORMAT}`);
    const found = pragma(db, "quick_check(1)");
    if (found !== "ok") throw corrupt(file, String(found));
  } catch (err) {
    throw asStoreError(err, file);
  }
}

function pragma(db: DatabaseSync, name: string): unknown {
  const row = db.prepare(`PRAGMA ${name}`).get();
  return row === undefined ? undefined : Object.values(row)[0];
}

function fold(db: DatabaseSync): void {
  db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
}

async function exists(file: string): Promise<boolean> {
  try {
    await fs.stat(file);
    return true;
  } catch (err) {
    if (errnoOf(err) === "ENOENT") return false;
    throw asSkeinError(err, file);
  }
}

const newIncarnation = (): string => randomBytes(16).toString("hex");

function corrupt(file: string, why: string, cause?: unknown): SkeinError {
  return new SkeinError("STORE_CORRUPT", `The store ${file} is damaged: ${why}.`, {
    data: { path: file },
    cause,
  });
}

/** SQLite's primary result codes that mean something to a user. */
const CODES: Readonly<Record<number, ErrorCode>> = {
  5: "STORE_BUSY",
  6: "STORE_BUSY",
  8: "IO",
  10: "IO",
  11: "STORE_CORRUPT",
  13: "DISK_FULL",
  14: "IO",
  26: "STORE_CORRUPT",
};

/** Gives SQLite's and the system's errors their codes; others pass as they are. */
export function asStoreError(err: unknown, file: string): unknown {
  if (!(err instanceof Error) || !("errcode" in err) || typeof err.errcode !== "number") {
    return asSkeinError(err, file);
  }
  const code = CODES[err.errcode & 0xff];
  if (code === undefined) return err;
  if (code === "STORE_CORRUPT") return corrupt(file, messageOf(err), err);
  return new SkeinError(code, `The store ${file}: ${messageOf(err)}.`, { data: { path: file }, cause: err });
}
