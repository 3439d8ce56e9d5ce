import fs from "node:fs";
import path from "node:path";

/** Removes a tree whose folders may not be writable. */
export function removeTree(dir: string): void {
  if (process.getuid?.() !== 0) makeWritable(dir);
  fs.rmSync(dir, { recursive: true, force: true });
}

export function makeWritable(dir: string): void {
  const stat = fs.lstatSync(dir, { throwIfNoEntry: false });
  if (stat === undefined || !stat.isDirectory()) return;
  fs.chmodSync(dir, 0o700);
  for (const entry of fs.readdirSync(dir, { withFileTypes: true })) {
    if (entry.isDirectory()) makeWritable(path.join(dir, entry.name));
  }
}
