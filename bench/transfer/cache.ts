/** What the transfer benchmark keeps between runs: downloaded packages, built trees. Under node_modules/.cache. */
import { execFile } from "node:child_process";
import fs from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";

const exec = promisify(execFile);

/** A new number forgets what was made by older recipes. */
const RECIPES = 1;
const CACHE = path.resolve(import.meta.dirname, `../../node_modules/.cache/skein-bench/transfer-${RECIPES}`);

/**
 * The folder `name` of the cache, made by `make` the first time. A making that was broken off leaves nothing.
 * @param make is given an empty folder to fill
 */
export async function cached(
  name: string,
  signal: AbortSignal,
  make: (dir: string) => Promise<void>,
): Promise<string> {
  const dir = path.join(CACHE, name);
  if (await isThere(dir)) return dir;
  await fs.mkdir(CACHE, { recursive: true });
  const aside = await fs.mkdtemp(path.join(CACHE, "making-"));
  try {
    process.stderr.write(`making ${path.relative(process.cwd(), dir)}\n`);
    await make(aside);
    signal.throwIfAborted();
    await fs.rename(aside, dir);
  } finally {
    await fs.rm(aside, { recursive: true, force: true });
  }
  return dir;
}

/** A package of the npm registry, unpacked; its scripts are not run. */
export async function npmPackage(name: string, version: string, signal: AbortSignal): Promise<string> {
  const flat = `${name.replaceAll(/[@/]/g, "_")}-${version}`;
  return await cached(flat, signal, async (dir) => {
    const { stdout } = await exec("npm", ["pack", "--silent", `${name}@${version}`], { cwd: dir, signal });
    const archive = path.join(dir, stdout.trim().split("\n").at(-1) ?? "");
    await exec("tar", ["xzf", archive, "--strip-components=1", "-C", dir], { signal });
    await fs.rm(archive);
  });
}

/** A program to its end, in `cwd`. Its words are shown only when it fails. */
export async function run(
  cwd: string,
  signal: AbortSignal,
  command: string,
  ...args: readonly string[]
): Promise<void> {
  const env = { ...process.env, NEXT_TELEMETRY_DISABLED: "1" };
  await exec(command, args, { cwd, signal, env, maxBuffer: 64 * 2 ** 20 });
}

/** Links where it can: the copy's files may be replaced, not written into. */
export async function copyTree(from: string, to: string, signal: AbortSignal): Promise<void> {
  await exec("cp", ["-al", from, to], { signal });
}

async function isThere(file: string): Promise<boolean> {
  return await fs.access(file).then(
    () => true,
    () => false,
  );
}
