import { execFile } from "node:child_process";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const ROOT = path.resolve(import.meta.dirname, "../..");

/** Which `skein` is run. */
export interface Program {
  readonly command: string;
  readonly args: readonly string[];
  /** Folder with `git-remote-skein`. */
  readonly helperDir: string;
}

/** What lies in this checkout. */
export const checkout: Program = {
  command: process.execPath,
  args: ["--disable-warning=ExperimentalWarning", path.join(ROOT, "bin/skein.mjs")],
  helperDir: path.join(ROOT, "bin"),
};

const built = process.env["SKEIN_TEST_PACKAGE"];

/** `npm test` runs what ships, built once (it also starts in half the time); a file run by itself, the checkout. */
export const tested: Program = built === undefined ? checkout : packageIn(built);

/** Environment of what is started: where Skein keeps its compiled form, without which each start compiles all anew. */
export const COMPILED: NodeJS.ProcessEnv = {
  HOME: os.homedir(),
  XDG_CACHE_HOME: process.env["XDG_CACHE_HOME"],
};

/** What `npm run build` makes, as `npm i -g` would put it down. @param out a folder that is emptied first */
export async function buildPackage(out: string, signal?: AbortSignal): Promise<Program> {
  const options = { cwd: ROOT, ...(signal === undefined ? {} : { signal }) };
  await run(process.execPath, [path.join(ROOT, "scripts/build.ts"), out], options);
  const dir = path.join(out, "package");
  const bin = path.join(dir, "node_modules/.bin");
  await fs.mkdir(bin, { recursive: true });
  await fs.symlink(process.execPath, path.join(bin, "node"));
  return packageIn(dir);
}

function packageIn(dir: string): Program {
  const helperDir = path.join(dir, "bin");
  return { command: path.join(helperDir, "skein"), args: [], helperDir };
}
