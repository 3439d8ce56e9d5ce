import type { Command } from "commander";
import type { Run } from "../command/group.ts";
import type { RepairFlags } from "./repair-bodies.ts";

/** drift, compare-checksums, repair. */
export function registerRepair(program: Command, run: Run): void {
  program
    .command("drift")
    .description("what differs on each node from what was ordered; exit 1 when anything does")
    .argument("[app]")
    .option("--files", "read every installed file, too, and name those that differ")
    .action(async (app: string | undefined, flags: { files?: boolean }, command: Command) => {
      await run(
        command,
        async (context) =>
          await (await import("./repair-bodies.ts")).showDrift(context, app, flags.files === true),
      );
    });
  program
    .command("compare-checksums")
    .description("compare the installed files of a release on each node with what was signed")
    .argument("[app]")
    .argument("[version]", "default: the one that was ordered")
    .action(
      async (app: string | undefined, version: string | undefined, _flags: object, command: Command) => {
        await run(
          command,
          async (context) =>
            await (await import("./repair-bodies.ts")).compareChecksums(context, app, version),
        );
      },
    );
  program
    .command("repair")
    .description("mend damaged files while the app serves, bring back what is missing, replace what fails")
    .argument("[app]")
    .option("--full-copy", "fetch and replace every file of what runs")
    .option("--watch", "go on until Ctrl-C")
    .option("--every <duration>", "with --watch: how often to look, give or take a half (default: 30s)")
    .action(async (app: string | undefined, flags: RepairFlags, command: Command) => {
      await run(
        command,
        async (context) => await (await import("./repair-bodies.ts")).repair(context, app, flags),
      );
    });
}
