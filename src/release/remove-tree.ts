import fs from "node:fs";
import path from "node:path";
import { SkeinError } from "../lib/errors.ts";
import { mountBelow } from "../lib/mounts.ts";

/** Removes a tree whose folders may not be writable. @throws SkeinError MOUNTED */
export function removeTree(dir: string): void {
  if (fs.lstatSync(dir, { throwIfNoEntry: false })?.isDirectory() === true) refuseMounts(dir);
  if (process.getuid?.() !== 0) makeWritable(dir);
  fs.rmSync(dir, { recursive: true, force: true });
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

export function makeWritable(dir: string): void {
  const stat = fs.lstatSync(dir, { throwIfNoEntry: false });
  if (stat === undefined || !stat.isDirectory()) return;
  fs.chmodSync(dir, 0o700);
  for (const entry of fs.readdirSync(dir, { withFileTypes: true })) {
    if (entry.isDirectory()) makeWritable(path.join(dir, entry.name));
  }
}
