import path from "node:path";
import { buildPackage, type Program } from "../../test/support/program.ts";

const OUT = path.resolve(import.meta.dirname, "../../node_modules/.cache/skein-bench/built");

/** What ships, built anew each time: it takes about a second. */
export async function builtPackage(signal: AbortSignal): Promise<Program> {
  return await buildPackage(OUT, signal);
}
