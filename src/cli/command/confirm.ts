import { createInterface } from "node:readline";
import { SkeinError } from "../../lib/errors/errors.ts";
import type { Context } from "./context.ts";

/**
 * Asks for the name of what is destroyed, unless `--yes` was given with it. Where nobody can see the question or answer
 * it, it is refused at once. A dry run destroys nothing.
 * @throws SkeinError NAME_NOT_GIVEN, and what Ctrl-C and `--timeout` end everything with
 */
export async function confirmName(
  { io, globals, signal, dryRun }: Context,
  what: string,
  name: string,
): Promise<void> {
  if (globals.yes === true || dryRun !== undefined) return;
  const isAsked = process.stdin.isTTY && process.stderr.isTTY && !io.json;
  if (isAsked) {
    process.stderr.write(`${what}. Type ${name} to go on: `);
    if ((await typedLine(signal)) === name) return;
  }
  throw new SkeinError("NAME_NOT_GIVEN", `${what}, and ${name} was not typed`, {
    hint: isAsked ? "Nothing was changed." : "Type the name when asked, or add --yes.",
    data: { name },
  });
}

/** What was typed; undefined at the end of the input (Ctrl-D). The terminal itself does the editing, and sends the signals. */
async function typedLine(signal: AbortSignal): Promise<string | undefined> {
  const reader = createInterface({ input: process.stdin, terminal: false });
  const end = (): void => {
    process.stderr.write("\n");
    reader.close();
  };
  signal.addEventListener("abort", end, { once: true });
  try {
    for await (const line of reader) return line.trim();
    signal.throwIfAborted();
    process.stderr.write("\n");
    return undefined;
  } finally {
    signal.removeEventListener("abort", end);
    reader.close();
  }
}
