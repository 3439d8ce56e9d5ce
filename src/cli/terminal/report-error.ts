import { ERROR_CODES } from "../../lib/errors/error-codes.ts";
import { isSkeinError, messageOf, SkeinError, toSkeinError, toWire } from "../../lib/errors/errors.ts";
import { oneLine, shown, type Io } from "./io.ts";

/** Ends with this when a person pressed Ctrl-C. */
export const INTERRUPTED_EXIT = 130;

/** The exit code that a command which threw `err` ends with. */
export function exitOf(err: unknown): number {
  const { code, exit } = toSkeinError(err);
  return code === "INTERRUPTED" ? INTERRUPTED_EXIT : exit;
}

/** A command line that cannot be read, of a command that is known: its own help tells more than all help. */
export function ofCommand(err: unknown, name: string): unknown {
  if (!isSkeinError(err, "USAGE") || err.hint !== ERROR_CODES.USAGE.mend) return err;
  return new SkeinError("USAGE", err.message, { hint: `See ${name} --help.`, data: err.data, cause: err });
}

/**
 * An error for people: what and where, the last lines of whatever failed, the state that is left, what to type next,
 * and the code to look up. For programs: the result event.
 */
export function reportError(io: Io, err: unknown): number {
  const exit = exitOf(err);
  io.event({ type: "result", ok: false, exit, error: toWire(err) });
  if (!io.json) io.raw(shown(errorText(io, err)));
  return exit;
}

/** The same for one failure among others, of a command that goes on. @returns the exit code it would end with */
export function tellTrouble(io: Io, what: string, err: SkeinError): number {
  io.event({ type: "trouble", what, error: toWire(err) });
  if (!io.json) io.raw(shown(errorText(io, err, `${what}: `)));
  return exitOf(err);
}

/**
 * A word of thousands of letters was pasted by mistake, and hides what is said of it. Further lines are seen to belong to
 * the first: a node or hub that says them could else say what Skein says.
 */
const cut = (text: string): string =>
  text
    .replaceAll(/\S{500,}/g, (word) => `${word.slice(0, 60)}… (${word.length} characters)`)
    .replaceAll(/\n(?! {2})/g, "\n  ");

function errorText(io: Io, thrown: unknown, what = ""): string {
  const err = toSkeinError(thrown);
  const lines = [`${io.paint("red", "error")} ${what}${cut(err.message)}`];
  for (const line of tailOf(err)) lines.push(`  ${io.paint("dim", "|")} ${line}`);
  const state = err.data["state"];
  if (typeof state === "string") lines.push(`  state  ${cut(state)}`);
  if (err.hint !== "") lines.push(`  next   ${cut(err.hint)}`);
  lines.push(`  code   ${codeText(err)}`, ...(io.verbose ? detailsOf(err) : []));
  return `${lines.join("\n")}\n`;
}

/** Of a defect, where it was thrown. */
function detailsOf(err: SkeinError): string[] {
  const { cause, code } = err;
  const { stack } = code === "INTERNAL" && cause instanceof Error ? cause : err;
  return [
    ...(cause === undefined ? [] : [`  cause  ${messageOf(cause)}`]),
    ...(stack === undefined ? [] : [stack]),
  ];
}

const codeText = (err: SkeinError): string => {
  const { cause } = err.data;
  return typeof cause === "string" && cause !== err.code ? `${err.code} (${cause})` : err.code;
};

const TAIL_LINES = 20;

function tailOf(err: SkeinError): string[] {
  const { lines } = err.data;
  return Array.isArray(lines) ? lines.slice(-TAIL_LINES).map((line) => oneLine(String(line))) : [];
}
