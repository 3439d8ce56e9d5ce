import { CommanderError, type Command } from "commander";
import { SkeinError } from "../lib/errors/errors.ts";
import { cliProgram, forgetUnsaid } from "./cli-program.ts";
import { everyCommand } from "./command/every-command.ts";
import { processIo, READER_GONE } from "./terminal/io.ts";
import { usage } from "./command/grammar.ts";
import { habitHint } from "./command/habits.ts";
import { tellVersion } from "./command/version.ts";

const LINGER_MS = 1000;

/**
 * Whoever reads the result may have seen enough (`| head`): that ends the command, and is no crash. Whoever reads what
 * is said besides may be gone, too: servers outlive it.
 */
function endWithReader(): void {
  process.stdout.on("error", (err: NodeJS.ErrnoException) => {
    if (err.code === "EPIPE") process.exit(READER_GONE);
    const code = err.code === "ENOSPC" ? "DISK_FULL" : "IO";
    process.stderr.write(
      `error what this command prints cannot be written: ${err.message}\n  code   ${code}\n`,
    );
    process.exit(1);
  });
  process.stderr.on("error", (err: NodeJS.ErrnoException) => {
    if (err.code !== "EPIPE") process.exit(1);
  });
}

/** The words before the verb: `--version` there is the tool's, after it a value. */
function versionAsked(words: readonly string[]): boolean {
  for (const word of words) {
    if (word === "--version" || word === "-V") return true;
    if (!word.startsWith("-")) return false;
  }
  return false;
}

/** Runs what was typed. @returns the exit status, to be set at once: what is left open is soon ended by force */
export async function main(words: readonly string[]): Promise<number> {
  endWithReader();
  const exit = await outcome(words);
  // Whatever a failed command left open must not keep its caller waiting; the timer itself keeps nobody.
  setTimeout(() => process.exit(), LINGER_MS).unref();
  return exit;
}

async function outcome(words: readonly string[]): Promise<number> {
  forgetUnsaid(process.env);
  if (versionAsked(words)) {
    const io = processIo({ json: isJson(words) });
    io.event({ type: "result", ok: true, ...tellVersion(io) });
    return 0;
  }
  let exit = 0;
  let help = "";
  const done = (code: number): void => void (exit = code);
  const program = cliProgram(done, words, isJson(words) ? (text) => (help += text) : undefined);
  try {
    refuseEmpty(words);
    await program.parseAsync(helpAsked(program, words), { from: "user" });
    return exit;
  } catch (err) {
    if (!(err instanceof CommanderError)) return await report(words, err, commandOf(program, words));
    if (err.exitCode === 0) return tellHelp(words, help);
    const command = commandOf(program, before(unknownVerb(err), words));
    // Help that nobody asked for was printed already: a verb is missing.
    if (err.code === "commander.help")
      return isJson(words) ? await report(words, noVerb(command), command) : 2;
    return await report(words, misread(err, command, program), command);
  }
}

/**
 * What a shell makes of a variable that is not set: nobody means it, and taken for a name or a path it would be this
 * folder, or nothing. What follows `--` is another command's.
 * @throws SkeinError USAGE
 */
function refuseEmpty(words: readonly string[]): void {
  const own = words.includes("--") ? words.slice(0, words.indexOf("--")) : words;
  const place = own.findIndex((word) => word === "" || /^--[a-z][a-z0-9-]*=$/.test(word));
  const [word, before] = [own[place], own[place - 1]];
  if (word === undefined) return;
  const what = word === "" ? `the word ${before === undefined ? "at the front" : `after ${before}`}` : word;
  throw usage(`${what} is empty`, "A variable of the shell that is not set may stand there.");
}

/** What was asked for is the result; people were told it already. */
function tellHelp(words: readonly string[], help: string): number {
  processIo({ json: isJson(words) }).event({ type: "result", ok: true, help });
  return 0;
}

const noVerb = (command: string): SkeinError =>
  new SkeinError("USAGE", `which command of ${command}?`, { hint: `${command} --help lists them.` });

/** `--full=yes`, where `--full` is a switch. */
function switchGiven(program: Command, message: string): string | undefined {
  const [, flag] = /^(?:error: )?unknown option '(--[a-z][a-z0-9-]*)=/.exec(message) ?? [];
  const all = [program, ...everyCommand(program)].flatMap(({ options }) => options);
  return all.some(({ long, required, optional }) => long === flag && !required && !optional)
    ? flag
    : undefined;
}

/** What commander could not read, as every other failure looks. */
function misread({ message }: CommanderError, command: string, program: Command): SkeinError {
  const flag = switchGiven(program, message);
  if (flag !== undefined) return usage(`${flag} takes no value`, `Write ${flag} alone, or leave it out.`);
  const [what = "", ...more] = message.replace(/^error: /, "").split("\n");
  const verb = unknownVerb({ message }) ?? "";
  const known = habitHint(`${command} ${verb}`.replace(/^skein /, ""));
  const suggestion = known ?? more.join(" ").replace(/^\((.*)\)$/, "$1");
  return new SkeinError("USAGE", what, suggestion === "" ? {} : { hint: suggestion });
}

const unknownVerb = ({ message }: Pick<CommanderError, "message">): string | undefined =>
  /^(?:error: )?unknown command '(.*)'/.exec(message)?.[1];

/** What follows a verb that is none are its own words, be they called as verbs are: `exec shop ls`. */
const before = (verb: string | undefined, words: readonly string[]): readonly string[] =>
  verb !== undefined && words.includes(verb) ? words.slice(0, words.indexOf(verb)) : words;

/**
 * `help node invite` is `node invite --help`. Commander answers with the help of `node`, and that of a word that is no
 * verb with everything there is.
 */
function helpAsked(program: Command, words: readonly string[]): string[] {
  const [first, ...asked] = words.filter((word) => !word.startsWith("-"));
  if (first !== "help" || asked.length === 0) return [...words];
  let command = program;
  for (const word of asked) {
    const next = below(command, word);
    if (next === undefined && word !== "help")
      throw new SkeinError("USAGE", `unknown command '${asked.join(" ")}'`, {
        hint: "skein --help lists them.",
      });
    command = next ?? command;
  }
  return [...asked.filter((word) => word !== "help"), "--help"];
}

const below = (command: Command, word: string): Command | undefined =>
  command.commands.find((one) => one.name() === word || one.aliases().includes(word));

/** As much of a command's name as these words are. */
function commandOf(program: Command, words: readonly string[]): string {
  const names = [program.name()];
  let command = program;
  for (const word of words) {
    const next = below(command, word);
    if (next !== undefined) names.push(next.name());
    command = next ?? command;
  }
  return names.join(" ");
}

/** For what is told where the line could not be read: its flags, or the variables in their place. */
const isSaid = (words: readonly string[], flag: string, variable: string): boolean =>
  words.includes(flag) || process.env[variable] !== undefined;
const isJson = (words: readonly string[]): boolean => isSaid(words, "--json", "SKEIN_JSON");

async function report(words: readonly string[], thrown: unknown, command: string): Promise<number> {
  const { ofCommand, reportError } = await import("./terminal/report-error.ts");
  const err = ofCommand(thrown, command);
  const verbose = isSaid(words, "--verbose", "SKEIN_VERBOSE");
  const color = !words.includes("--no-color");
  return reportError(processIo({ json: isJson(words), verbose, color }), err);
}
