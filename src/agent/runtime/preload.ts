import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { writeFileAtomic } from "../../lib/disk/files.ts";
import { programFile } from "../../lib/process/program.ts";

/** The first is the one that loads the others. */
const FILES = ["main.cjs", "idle.cjs"] as const;

/**
 * Copies the preload to where every app's user can read it, named by its content: old instances restart with what they
 * started with. @returns the file that a Node is to load
 */
export async function placePreload(run: string): Promise<string> {
  const from = programFile("preload");
  const files = FILES.map((name) => ({ name, text: fs.readFileSync(path.join(from, name)) }));
  const digest = createHash("sha256");
  for (const { text } of files) digest.update(text);
  const folder = path.join(run, `preload-${digest.digest("hex").slice(0, 12)}`);
  fs.mkdirSync(folder, { recursive: true });
  fs.chmodSync(folder, 0o755);
  for (const { name, text } of files) {
    const file = path.join(folder, name);
    if (!fs.existsSync(file)) await writeFileAtomic(file, text, 0o444);
  }
  return path.join(folder, FILES[0]);
}
