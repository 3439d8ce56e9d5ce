import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { buildPackage, type Program } from "../../test/support/program.ts";

const OUT = path.resolve(import.meta.dirname, "../../node_modules/.cache/skein-bench/built");

const run = promisify(execFile);

/** With what a first deployment has made in the background, where it is used once and for all. */
export async function withSnapshot(program: Program, signal: AbortSignal): Promise<Program> {
  process.env["SKEIN_SNAPSHOT"] = "";
  await run(process.execPath, [path.join(OUT, "package/dist/make-snapshot.mjs")], { signal });
  return program;
}

/** What ships, built anew each time: it takes about a second. */
export async function builtPackage(signal: AbortSignal): Promise<Program> {
  return await buildPackage(OUT, signal);
}
