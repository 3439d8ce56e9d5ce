import manifest from "../../../package.json" with { type: "json" };
import type { Io } from "../terminal/io.ts";

export const VERSION: string = manifest.version;

/** Of `skein version`, and of `skein --version`. @returns what of it stands in the result */
export function tellVersion(io: Pick<Io, "print">): { readonly version: string; readonly node: string } {
  io.print(`skein ${VERSION}`);
  return { version: VERSION, node: process.versions.node };
}
