import type { Command } from "commander";
import type { Run } from "../command/group.ts";
import type { StageFlags } from "./stage-bodies.ts";

/** cp. */
export function registerStage(program: Command, run: Run): void {
  program
    .command("cp")
    .alias("stage")
    .description("place a release on nodes without activating it; its deployment then moves no bytes")
    .argument("[words...]", "APP, APP VERSION, APP SELECTOR VERSION, or a path; default: the newest release")
    .option("--from <path>", "take a folder, archive or file as it is")
    .option("--version <version>", "commit, tag, branch or release")
    .option("--full", "fetch all of it anew, whatever the nodes have")
    .option("--through-cache", "the same through each node's cache, whose copy is replaced")
    .option("--apply-within <duration>", "nodes that are away may come and get it this long (default 24h)")
    .action(async (words: string[], flags: StageFlags, command: Command) => {
      await run(
        command,
        async (context) => await (await import("./stage-bodies.ts")).stage(context, words, flags),
      );
    });
}
