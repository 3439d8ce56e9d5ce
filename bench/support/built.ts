import { execFile } from "node:child_process";
import fs from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import type { Program } from "../../test/support/cluster.ts";

const run = promisify(execFile);
const ROOT = path.resolve(import.meta.dirname, "../..");
const OUT = path.join(ROOT, "node_modules/.cache/skein-bench/built");

/** What `npm run build` makes, as `npm i -g` would put it down. Built anew each time: it takes about a second. */
export async function builtPackage(signal: AbortSignal): Promise<Program> {
  await run(process.execPath, [path.join(ROOT, "scripts/build.ts"), OUT], { cwd: ROOT, signal });
  const bin = path.join(OUT, "package/node_modules/.bin");
  await fs.mkdir(bin, { recursive: true });
  await fs.symlink(process.execPath, path.join(bin, "node"));
  const helperDir = path.join(OUT, "package/bin");
  return { command: path.join(helperDir, "skein"), args: [], helperDir };
}
