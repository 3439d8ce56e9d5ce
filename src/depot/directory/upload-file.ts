import { randomBytes } from "node:crypto";
import fs from "node:fs/promises";
import path from "node:path";
import { errnoOf } from "../../lib/errors/errors.ts";

/**
 * What has arrived of an upload, in a file that has one writer at a time: who goes on with it takes it by renaming
 * it to a name of its own, `<upload>.<pid>.<random>`, and gives it back when the line is cut. What a killed process
 * had taken is free again. A second writer that comes meanwhile finds nothing and begins a file of its own.
 */
const taken = new Set<string>();

/** Takes what is there, or a name where nothing is yet. */
export async function take(upload: string): Promise<string> {
  const own = `${upload}.${process.pid}.${randomBytes(4).toString("hex")}`;
  taken.add(own);
  for (const candidate of await free(upload)) {
    try {
      await fs.rename(candidate, own);
      break;
    } catch (err) {
      if (errnoOf(err) !== "ENOENT") throw err;
    }
  }
  return own;
}

/** Gives back what is left under `own`, if anything is. */
export async function giveBack(upload: string, own: string): Promise<void> {
  try {
    await fs.rename(own, upload);
  } catch (err) {
    if (errnoOf(err) !== "ENOENT") throw err;
  } finally {
    taken.delete(own);
  }
}

/** How much of an upload is there and free to go on with, in bytes. */
export async function freeBytes(upload: string): Promise<number> {
  for (const candidate of await free(upload)) {
    const stat = await fs.lstat(candidate).catch(() => undefined);
    if (stat?.isFile() === true) return stat.size;
  }
  return 0;
}

async function free(upload: string): Promise<string[]> {
  const dir = path.dirname(upload);
  const prefix = `${path.basename(upload)}.`;
  const names = await fs.readdir(dir).catch(() => []);
  const left = names.filter((name) => name.startsWith(prefix) && isLeft(path.join(dir, name)));
  return [upload, ...left.map((name) => path.join(dir, name))];
}

const OWN = /\.\d+\.[0-9a-f]{8}$/;

/** Somebody who lives is writing this file, or will give it back. */
export const isTaken = (file: string): boolean => OWN.test(file) && !isLeft(file);

function isLeft(own: string): boolean {
  if (taken.has(own)) return false;
  const pid = Number(own.split(".").at(-2));
  if (pid === process.pid) return true;
  try {
    process.kill(pid, 0);
    return false;
  } catch (err) {
    return errnoOf(err) === "ESRCH";
  }
}
