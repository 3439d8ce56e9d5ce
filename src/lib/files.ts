import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";
import { errnoOf, SkeinError } from "./errors.ts";

/** Flushes a directory's entries, so that a rename or unlink in it survives a power cut. */
export async function syncDirectory(dir: string): Promise<void> {
  const handle = await fs.open(dir, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Writes aside, fsyncs, renames over `file`, fsyncs the directory: readers see the old or the new text, never less.
 * `aside` is where it is written first, on the same file system; by default a fresh name beside `file`.
 */
export async function writeFileAtomic(
  file: string,
  data: string | Uint8Array | Iterable<Uint8Array>,
  mode = 0o600,
  aside = asideOf(file),
): Promise<void> {
  try {
    await writeFlushed(aside, data, mode);
    await fs.rename(aside, file);
  } catch (err) {
    await dropAside(aside);
    throw asSkeinError(err, file);
  }
  await syncDirectory(path.dirname(file));
}

async function writeFlushed(
  file: string,
  data: string | Uint8Array | Iterable<Uint8Array>,
  mode: number,
): Promise<void> {
  const handle = await fs.open(file, "wx", mode);
  try {
    await handle.writeFile(data);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

const asideOf = (file: string): string => `${file}.${randomBytes(6).toString("hex")}.tmp`;

/** As `writeFileAtomic`, but what is there already stays: of several who write at once one is the first. */
export async function writeFileOnce(file: string, data: string, mode = 0o600): Promise<void> {
  const aside = asideOf(file);
  try {
    await writeFlushed(aside, data, mode);
    await fs.link(aside, file);
  } catch (err) {
    if (errnoOf(err) !== "EEXIST") throw asSkeinError(err, file);
  } finally {
    await dropAside(aside);
  }
  await syncDirectory(path.dirname(file));
}

/** What went wrong before says more than what goes wrong here. */
async function dropAside(aside: string): Promise<void> {
  await fs.rm(aside, { force: true }).catch(() => undefined);
}

/** Points the symlink `link` at `target` in one step: there is no moment without a link. */
export async function replaceSymlink(target: string, link: string): Promise<void> {
  const aside = asideOf(link);
  await fs.symlink(target, aside);
  try {
    await fs.rename(aside, link);
  } catch (err) {
    await fs.rm(aside, { force: true });
    throw err;
  }
  await syncDirectory(path.dirname(link));
}

/** The file's text, or undefined when there is none. */
export async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await fs.readFile(file, "utf8");
  } catch (err) {
    if (errnoOf(err) === "ENOENT") return undefined;
    throw err;
  }
}

/** Turns the errors of a full disk into DISK_FULL, and other system errors into IO with the path. */
export function asSkeinError(err: unknown, where: string): unknown {
  const errno = errnoOf(err);
  if (err instanceof SkeinError || errno === undefined) return err;
  const code = errno === "ENOSPC" || errno === "EDQUOT" ? "DISK_FULL" : "IO";
  return new SkeinError(code, `${where}: ${errno}`, { cause: err, data: { path: where, errno } });
}
