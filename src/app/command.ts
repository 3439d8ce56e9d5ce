import type { Command, Environment } from "./manifest.ts";

/** A command line that cannot be taken as it is; the message says why and what to write instead. */
export class CommandError extends Error {
  override readonly name = "CommandError";
}

const VARIABLE = /^\$(?:\$|[A-Za-z_]\w*|\{[A-Za-z_]\w*\})/;
/** What means something within double quotes: a backslash with what follows, a variable, a dollar sign alone. */
const DOUBLE_QUOTED = /\\([\s\S])|\$(\$|[A-Za-z_]\w*|\{[A-Za-z_]\w*\})?/g;
/** A line that ends in a backslash goes on. */
const SPACE = /^(?:\s|\\\n)*\s(?:\s|\\\n)*/;
const ASSIGNMENT = /^(?:\s|\\\n)*([A-Za-z_]\w*=)/;
const SHELL_ONLY = /[|&;<>()`*?[\]{}~#]/;

/**
 * Splits a command line into argv as a shell would: quotes and backslashes, but no expansion. A `$` that quoting
 * protects becomes `$$`, so that `expandArgv` leaves it alone.
 * @param shell how the same is written where it stands, for a shell
 * @throws CommandError when it is empty, a quote is open, or it needs a shell
 */
export function splitCommand(line: string, shell = "{ sh: ... }"): Command {
  refuseAssignment(line, shell);
  const argv: string[] = [];
  let word: string | undefined;
  let rest = line;
  while (rest !== "") {
    const space = SPACE.exec(rest)?.[0];
    if (space !== undefined) {
      if (word !== undefined) argv.push(word);
      word = undefined;
      rest = rest.slice(space.length);
      if (argv.length > 0 && rest !== "") refuseLineBreak(space, shell);
      continue;
    }
    const [piece, length] = nextPiece(rest, line, shell);
    word = (word ?? "") + piece;
    rest = rest.slice(length);
  }
  if (word !== undefined) argv.push(word);
  if (argv.length === 0) throw new CommandError("the command is empty");
  return { argv };
}

function refuseAssignment(line: string, shell: string): void {
  const [, assignment] = ASSIGNMENT.exec(line) ?? [];
  if (assignment === undefined) return;
  throw new CommandError(`${assignment} before a command needs a shell: write it under env, or ${shell}`);
}

function refuseLineBreak(space: string, shell: string): void {
  if (!space.replaceAll("\\\n", "").includes("\n")) return;
  throw new CommandError(`a second line needs a shell: write ${shell}`);
}

/** The text that the start of `rest` stands for, and how long it is. */
function nextPiece(rest: string, line: string, shell: string): [string, number] {
  const quoted = quotedPiece(rest, line);
  if (quoted !== undefined) return quoted;
  const lineEnds = /^(?:\\\n)+/.exec(rest);
  if (lineEnds !== null) return ["", lineEnds[0].length];
  if (rest.startsWith("\\")) return [literal(rest.slice(1, 2)), 2];
  const variable = VARIABLE.exec(rest);
  if (variable !== null) return [variable[0], variable[0].length];
  const char = rest.slice(0, 1);
  if (SHELL_ONLY.test(char) || rest.startsWith("$(")) {
    const what = rest.startsWith("$(") ? "$(" : char;
    throw new CommandError(`${what} needs a shell: write ${shell}, or quote it`);
  }
  return [literal(char), 1];
}

function quotedPiece(rest: string, line: string): [string, number] | undefined {
  const single = /^'([^']*)'/.exec(rest);
  if (single !== null) return [literal(single[1] ?? ""), single[0].length];
  const double = /^"((?:[^"\\]|\\[\s\S])*)"/.exec(rest);
  if (double !== null) return [unescapeDouble(double[1] ?? ""), double[0].length];
  if (/^['"]/.test(rest)) throw new CommandError(`a quote is left open in: ${line}`);
  return undefined;
}

const literal = (text: string): string => text.replaceAll("$", "$$$$");

function unescapeDouble(text: string): string {
  return text.replaceAll(DOUBLE_QUOTED, (whole, char?: string, variable?: string) => {
    if (char === undefined) return variable === undefined ? "$$" : whole;
    if (char === "$") return "$$";
    if (char === "\n") return "";
    return '"\\`'.includes(char) ? char : whole;
  });
}

/** Replaces `$NAME` and `${NAME}` by the environment's value (empty when there is none) and `$$` by a dollar. */
export function expandArgv(argv: readonly string[], env: Environment): string[] {
  const valueOf = (name: string): string => (Object.hasOwn(env, name) ? (env[name] ?? "") : "");
  return argv.map((part) =>
    part.replaceAll(/\$(?:(\$)|([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})/g, (_, dollar, bare, braced) =>
      dollar === undefined ? valueOf(String(bare ?? braced)) : "$",
    ),
  );
}
