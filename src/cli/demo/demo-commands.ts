import type { Command } from "commander";
import type { Run } from "../command/group.ts";

/** demo. */
export function registerDemo(program: Command, run: Run): void {
  program
    .command("demo")
    .description("three nodes on this machine: push, deploy and update an app under load")
    .option("--keep", "leave the logs of hub and agents behind")
    .action(async (flags: { keep?: boolean }, command: Command) => {
      await run(
        command,
        async (context) => await (await import("./demo-bodies.ts")).demo(context, flags.keep === true),
      );
    });
}
