import type { Dirent, Stats } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";
import { errnoOf } from "../lib/errors.ts";
import { asSkeinError, madeFolders, syncDirectory } from "../lib/files.ts";

/** What is in a folder; nothing where there is none. */
export async function entriesOf(dir: string): Promise<Dirent[]> {
  try {
    return await fs.readdir(dir, { withFileTypes: true });
  } catch (err) {
    if (isNotThere(err)) return [];
    throw asSkeinError(err, dir);
  }
}

/** Of a plain file; undefined where there is none. */
export async function fileStat(file: string): Promise<Stats | undefined> {
  try {
    const stat = await fs.lstat(file);
    return stat.isFile() ? stat : undefined;
  } catch (err) {
    if (isNotThere(err)) return undefined;
    throw asSkeinError(err, file);
  }
}

/** Also where a file stands in a folder's place. */
const isNotThere = (err: unknown): boolean => ["ENOENT", "ENOTDIR"].includes(errnoOf(err) ?? "");

/** A folder, and those that it lies in, that are there after a power cut. */
export async function makeFolder(dir: string): Promise<void> {
  try {
    const made = await madeFolders(dir, 0o777);
    if (made === undefined) return;
    for (let at = dir; at.length >= made.length; at = path.dirname(at)) await syncDirectory(path.dirname(at));
  } catch (err) {
    throw asSkeinError(err, dir);
  }
}
