import type { Dirent, Stats } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";
import { errnoOf } from "../../lib/errors/errors.ts";
import { asSkeinError, madeFolders, syncDirectory } from "../../lib/disk/files.ts";

/** What is in a folder; nothing where there is none. */
export async function entriesOf(dir: string): Promise<Dirent[]> {
  try {
    return await fs.readdir(dir, { withFileTypes: true });
  } catch (err) {
    if (isNotThere(err)) return [];
    throw asSkeinError(err, dir);
  }
}

/** What is below a folder and is no folder itself, as paths from there. */
export async function filesUnder(dir: string, prefix = ""): Promise<string[]> {
  const files: string[] = [];
  for (const entry of await entriesOf(path.join(dir, prefix))) {
    const name = `${prefix}${entry.name}`;
    if (entry.isDirectory()) files.push(...(await filesUnder(dir, `${name}/`)));
    else files.push(name);
  }
  return files;
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
