import type { Readable, Writable } from "node:stream";
import type { Io } from "../terminal/io.ts";
import { usage } from "./grammar.ts";

/** In the place of a file's name: standard output, or standard input. */
export const isStandard = (file: string | undefined): boolean => file === "-";

/** For bytes, with nothing else between them. @throws SkeinError USAGE */
export function standardOutput({ json }: Io): Writable {
  if (json) throw usage("--json prints its events where --output - writes", "Leave one of them out.");
  if (process.stdout.isTTY)
    throw usage("what --output - writes is for a file or another command", "Add > FILE or | COMMAND.");
  return process.stdout;
}

/** @throws SkeinError USAGE */
export function standardInput(): Readable {
  if (process.stdin.isTTY)
    throw usage("a terminal is where - would be read from", "Add < FILE, or put COMMAND | before it.");
  return process.stdin;
}

/** Where a file is meant, and nothing else will do: one of that name would be made. @throws SkeinError USAGE */
export function refuseStandard(file: string | undefined, what: string): void {
  if (isStandard(file)) throw usage(`${what} is a file, and no stream`, "Name one; ./- is the one called -.");
}
