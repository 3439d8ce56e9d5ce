import type { Command } from "commander";
import type { Run } from "../command/group.ts";
import type { AbortFlags } from "./rollout-bodies.ts";

/** watch, abort, pause, resume: what is said to the newest rollout of an app. */
export function registerRollouts(program: Command, run: Run): void {
  const app = "default: the manifest's app";
  program
    .command("watch")
    .description("follow the newest rollout of an app to its end")
    .argument("[app]", app)
    .action(async (word: string | undefined, _flags: object, command: Command) => {
      await run(command, async (context) => await (await import("./rollout-bodies.ts")).watch(context, word));
    });
  program
    .command("abort")
    .description("take the rollout that is under way back, on every node")
    .argument("[app]", app)
    .option("--now", "end hooks that run on its nodes: what they have half done stays so")
    .action(async (word: string | undefined, flags: AbortFlags, command: Command) => {
      await run(
        command,
        async (context) => await (await import("./rollout-bodies.ts")).abort(context, word, flags),
      );
    });
  program
    .command("pause")
    .description("let no further node begin; those that have begun end")
    .argument("[app]", app)
    .action(async (word: string | undefined, _flags: object, command: Command) => {
      await run(command, async (context) => await (await import("./rollout-bodies.ts")).pause(context, word));
    });
  program
    .command("resume")
    .description("let a paused rollout go on, and follow it to its end")
    .argument("[app]", app)
    .action(async (word: string | undefined, _flags: object, command: Command) => {
      await run(
        command,
        async (context) => await (await import("./rollout-bodies.ts")).resume(context, word),
      );
    });
}
