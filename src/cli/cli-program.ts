import { Command, Option } from "commander";
import { runBody, type Globals } from "./command/context.ts";
import type { Run } from "./command/group.ts";
import { everyCommand } from "./command/every-command.ts";
import { usage } from "./command/grammar.ts";
import { saysNo } from "./command/says-no.ts";
import { GROUPS } from "./groups.ts";

/** Of a flag that is given twice the last one would count, and the first be forgotten. */
function takenOnce(option: Option, hint = "Leave one of them out."): Option {
  const isSwitch = !option.required && !option.optional;
  if (isSwitch || option.variadic || option.parseArg !== undefined) return option;
  return option.argParser((value: string, before: string | undefined) => {
    if (before === undefined || before === value || before === option.defaultValue) return value;
    throw usage(`${option.long} is given twice: ${before} and ${value}`, hint);
  });
}

const GLOBALS: readonly Option[] = [
  new Option("--app <app>", "the app, where it is not a word").env("SKEIN_APP"),
  new Option("--env <name>", "the environment (default: default)").env("SKEIN_ENV"),
  takenOnce(
    new Option("--on <selector>", "the nodes: role=web & env!=prod, a node's name, all").env("SKEIN_ON"),
    "All of both: --on 'web1 | web2'.",
  ),
  new Option("--json", "one event a line; the last one is the result").env("SKEIN_JSON"),
  new Option("--quiet", "no progress").env("SKEIN_QUIET"),
  new Option("--verbose", "causes and stacks of errors").env("SKEIN_VERBOSE"),
  new Option("--timeout <duration>", "wait no longer than this; what was started goes on").env(
    "SKEIN_TIMEOUT",
  ),
  new Option("--detach", "do not wait for the end").env("SKEIN_DETACH"),
  new Option("--dry-run", "only say what would be done; deploy does what plan does").env("SKEIN_DRY_RUN"),
  new Option("--yes", "do not ask for the name of what is destroyed"),
  new Option("--no-color", "no colours"),
];

/** Forgets variables that mirror a flag and say nothing, or no: to commander whatever is there is a yes. */
export function forgetUnsaid(env: NodeJS.ProcessEnv): void {
  for (const option of GLOBALS) {
    const said = option.envVar === undefined ? undefined : env[option.envVar];
    if (option.envVar === undefined || said === undefined) continue;
    if (said === "" || (option.isBoolean() && saysNo(said))) delete env[option.envVar];
  }
}

const FOOT = `
First steps: skein up in one terminal, and in another, in a folder with an app: skein deploy.

Exit codes: 0 wanted state reached, 1 error and nothing changed, 2 usage or manifest, 3 failed and undone,
4 not authorised, 5 a human is needed, 6 another deployment holds the app, 7 not found, 8 timed out,
10 plan or diff has changes, 130 interrupted, 141 whoever read the output has gone.`;
const LEAF_FOOT = `
skein --help lists the flags of every command (--app, --env, --on, --json, --timeout …) and the exit codes.`;

/**
 * The grammar. Bodies set the exit code through `done`.
 * @param words what was typed: where it begins with a verb, those that are defined with it are enough
 * @param tellHelp given help that was asked for, piece by piece. Default: stdout
 */
export function cliProgram(
  done: (exit: number) => void,
  words: readonly string[] = [],
  tellHelp?: (text: string) => void,
): Command {
  const program = new Command("skein")
    .description("Deploys to servers you run yourself: signed, content-addressed, with no request lost.")
    .configureHelp({ sortSubcommands: false, showGlobalOptions: false })
    .showSuggestionAfterError()
    .exitOverride()
    .addHelpText("after", FOOT);
  for (const option of GLOBALS) program.addOption(option);
  const run: Run = async (command, body) =>
    done(await runBody(nameOf(command), command.optsWithGlobals<Globals>(), body));
  const asked = GROUPS.filter(([, verbs]) => verbs.split(" ").includes(words[0] ?? ""));
  for (const [register, , title] of asked.length === 0 ? GROUPS : asked) {
    program.commandsGroup(`${title}:`);
    register(program, run);
  }
  // Of the group that is named last, as the tools are.
  program.helpCommand("help [command]", "how a command is used");
  // What cannot be read is reported as every other failure is, by main.
  const silent = {
    outputError: (): void => undefined,
    ...(tellHelp === undefined ? {} : { writeOut: tellHelp, writeErr: (): void => undefined }),
  };
  program.configureOutput(silent);
  for (const command of [program, ...everyCommand(program)])
    for (const option of command.options) takenOnce(option);
  for (const command of everyCommand(program)) {
    command.exitOverride().showSuggestionAfterError().configureOutput(silent);
    if (command.commands.length === 0) command.addHelpText("after", LEAF_FOOT);
  }
  return program;
}

const nameOf = (command: Command): string =>
  command.parent === null ? command.name() : `${nameOf(command.parent)} ${command.name()}`;
