import type { Command } from "commander";

/** All that are below a command, at any depth. */
export function everyCommand(command: Command): Command[] {
  return command.commands.flatMap((one) => [one, ...everyCommand(one)]);
}
