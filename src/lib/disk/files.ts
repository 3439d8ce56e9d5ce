/**
 * Small files. Calls that only touch the kernel's memory are made at once: handing each to another thread and waiting for
 * it takes several times as long. What waits for the disk, and what is long, does not hold up the process.
 */
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { errnoOf, OTHER_USER, SkeinError } from "../errors/errors.ts";

const { O_RDONLY, O_DIRECTORY } = fs.constants;
// Looked up at each call, so that a test can put a slow disk in its place.
const flush = promisify((fd: number, done: fs.NoParamCallback) => {
  fs.fsync(fd, done);
});
/** Longer data is written by another thread. */
const SHORT_BYTES = 256 * 1024;

type Data = string | Uint8Array | Iterable<Uint8Array>;

/** Flushes a directory's entries, so that a rename or unlink in it survives a power cut. */
export async function syncDirectory(dir: string): Promise<void> {
  const fd = fs.openSync(dir, O_RDONLY | O_DIRECTORY);
  try {
    await flush(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/**
 * Writes aside, fsyncs, renames over `file`, fsyncs the directory: readers see the old or the new text, never less.
 * `aside` is where it is written first, on the same file system; by default a fresh name beside `file`.
 */
export async function writeFileAtomic(
  file: string,
  data: Data,
  mode = 0o600,
  aside = asideOf(file),
): Promise<void> {
  try {
    await writeFlushed(aside, data, mode);
    fs.renameSync(aside, file);
  } catch (err) {
    dropAside(aside);
    throw asSkeinError(err, file);
  }
  await syncDirectory(path.dirname(file));
}

/**
 * As `writeFileAtomic`, with its folders and without waiting for the disk: for what may be lost at any time, and where
 * it cannot be written is none. After a power cut it may be there and be short of something, which its readers have to
 * notice.
 */
export async function writeCacheFile(file: string, data: Data): Promise<void> {
  try {
    await madeFolders(path.dirname(file), 0o700);
    await replaceFile(file, data);
  } catch {
    // It is made anew.
  }
}

/** In one step, and not flushed: whoever is killed here leaves the old one or the new one; a machine that fails, any. */
export async function replaceFile(file: string, data: Data): Promise<void> {
  const aside = asideOf(file);
  try {
    await fs.promises.writeFile(aside, data, { flag: "wx", mode: 0o600 });
    fs.renameSync(aside, file);
  } catch (err) {
    dropAside(aside);
    throw asSkeinError(err, file);
  }
}

async function writeFlushed(file: string, data: Data, mode: number): Promise<void> {
  if (!isShort(data)) return await writeLong(file, data, mode);
  const fd = fs.openSync(file, "wx", mode);
  try {
    fs.writeFileSync(fd, data);
    await flush(fd);
  } finally {
    fs.closeSync(fd);
  }
}

function isShort(data: Data): data is string | Uint8Array {
  return (typeof data === "string" || data instanceof Uint8Array) && data.length <= SHORT_BYTES;
}

async function writeLong(file: string, data: Data, mode: number): Promise<void> {
  const handle = await fs.promises.open(file, "wx", mode);
  try {
    await handle.writeFile(data);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Where a file is written before it takes its name: another one each time. */
export const asideOf = (file: string): string => `${file}.${randomBytes(6).toString("hex")}.tmp`;

/** As `writeFileAtomic`, but what is there already stays: of several who write at once one is the first. */
export async function writeFileOnce(file: string, data: string, mode = 0o600): Promise<void> {
  const aside = asideOf(file);
  try {
    await writeFlushed(aside, data, mode);
    fs.linkSync(aside, file);
  } catch (err) {
    if (errnoOf(err) !== "EEXIST") throw asSkeinError(err, file);
  } finally {
    dropAside(aside);
  }
  await syncDirectory(path.dirname(file));
}

/** What went wrong before says more than what goes wrong here. */
function dropAside(aside: string): void {
  try {
    fs.rmSync(aside, { force: true });
  } catch {
    // It stays behind, and nobody reads it.
  }
}

const ASIDE = /\.[0-9a-f]{12}\.tmp$/;
/** Whoever still writes a file has written to it since. */
const LEFT_MS = 3_600_000;

/**
 * Removes what these functions have left in a folder, killed before they gave it its name. No folder: nothing.
 * @param of what was to be this file; default: whatever it was to be
 */
export function removeLeft(dir: string, of?: string): void {
  if (!isThere(dir)) return;
  for (const name of fs.readdirSync(dir)) {
    if (!ASIDE.test(name) || (of !== undefined && name.replace(ASIDE, "") !== of)) continue;
    const file = path.join(dir, name);
    const stat = fs.lstatSync(file, { throwIfNoEntry: false });
    if (stat !== undefined && Date.now() - stat.mtimeMs > LEFT_MS) dropAside(file);
  }
}

/**
 * What a person has written to a place goes into a folder that is there: one whose name was mistyped, or whose disk is
 * not mounted, is not made.
 * @throws SkeinError NOT_FOUND
 */
export function refuseNoFolder(to: string): void {
  const dir = path.dirname(path.resolve(to));
  if (fs.statSync(dir, { throwIfNoEntry: false })?.isDirectory() === true) return;
  throw new SkeinError("NOT_FOUND", `there is no folder ${dir} for ${path.basename(to)}`, {
    hint: `Check its name, and that its disk is mounted; or make it: mkdir -p ${dir}`,
    data: { path: dir },
  });
}

/** Points the symlink `link` at `target` in one step: there is no moment without a link. */
export async function replaceSymlink(target: string, link: string): Promise<void> {
  const aside = asideOf(link);
  fs.symlinkSync(target, aside);
  try {
    fs.renameSync(aside, link);
  } catch (err) {
    fs.rmSync(aside, { force: true });
    throw err;
  }
  await syncDirectory(path.dirname(link));
}

/** The file's text, or undefined when there is none. */
export async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return fs.readFileSync(file, "utf8");
  } catch (err) {
    if (errnoOf(err) === "ENOENT") return undefined;
    throw asSkeinError(err, file);
  }
}

/** What a person who meets it can do something with, where the system's word says little. */
const MEANT: Readonly<Record<string, string>> = {
  EACCES: " (permission denied)",
  EIO: " (the disk failed)",
  EROFS: " (the file system is read-only)",
};

/** Turns the errors of a full disk into DISK_FULL, and other system errors into IO with the path. */
export function asSkeinError(err: unknown, where: string): unknown {
  const errno = errnoOf(err);
  if (err instanceof SkeinError || errno === undefined) return err;
  const code = errno === "ENOSPC" || errno === "EDQUOT" ? "DISK_FULL" : "IO";
  return new SkeinError(code, `${where}: ${errno}${MEANT[errno] ?? ""}`, {
    ...(errno === "EACCES" ? { hint: OTHER_USER } : {}),
    cause: err,
    data: { path: where, errno },
  });
}

/** What the system refused, where it says so: of a rename, the file that is in the way, or else what was to be renamed. */
export function refusedAt(err: unknown): string | undefined {
  if (!(err instanceof Error)) return undefined;
  if ("dest" in err && typeof err.dest === "string" && isThere(err.dest)) return err.dest;
  return "path" in err && typeof err.path === "string" ? err.path : undefined;
}

const isThere = (at: string): boolean => fs.lstatSync(at, { throwIfNoEntry: false }) !== undefined;

/**
 * What `recursive` of fs.mkdir does, which never ends where a folder is there that nothing can be made in and the system
 * says ENOENT, such as /proc. @returns the outermost one that was made; undefined: all were there
 */
export async function madeFolders(dir: string, mode: number): Promise<string | undefined> {
  try {
    return (await madeFolder(dir, mode)) ? dir : undefined;
  } catch (err) {
    if (errnoOf(err) !== "ENOENT" || path.dirname(dir) === dir) throw err;
  }
  const outermost = await madeFolders(path.dirname(dir), mode);
  const made = await madeFolder(dir, mode);
  return outermost ?? (made ? dir : undefined);
}

/** @returns false where it was there, or a file in its place: whoever looks in meets that */
async function madeFolder(dir: string, mode: number): Promise<boolean> {
  try {
    await fs.promises.mkdir(dir, mode);
    return true;
  } catch (err) {
    if (errnoOf(err) === "EEXIST") return false;
    throw err;
  }
}
