import type { Command } from "commander";
import type { Run } from "../command/group.ts";
import type { StopFlags } from "../command/verb-flags.ts";

/** start, stop, restart. */
export function registerLifecycle(program: Command, run: Run): void {
  const subject = "APP, APP@RELEASE, or an instance such as web.1@node1; default: the manifest's app";
  program
    .command("start")
    .description("run what was stopped")
    .argument("[subject]", subject)
    .option("--attended", "sign that it stands only after the receipts were seen")
    .action(async (word: string | undefined, flags: StopFlags, command: Command) => {
      await run(
        command,
        async (context) => await (await import("./lifecycle-bodies.ts")).bring(context, "start", word, flags),
      );
    });
  program
    .command("stop")
    .description("stop the current version, gracefully")
    .argument("[subject]", subject)
    .option("--all", "every version")
    .option("--now", "within one second")
    .option("--attended", "sign that it stands only after the receipts were seen")
    .action(async (word: string | undefined, flags: StopFlags, command: Command) => {
      await run(
        command,
        async (context) => await (await import("./lifecycle-bodies.ts")).bring(context, "stop", word, flags),
      );
    });
  program
    .command("restart")
    .description("hand over to new instances of the same version; nothing is lost")
    .argument("[subject]", subject)
    .option("--attended", "sign that it stands only after the receipts were seen")
    .action(async (word: string | undefined, flags: StopFlags, command: Command) => {
      await run(
        command,
        async (context) =>
          await (await import("./lifecycle-bodies.ts")).bring(context, "restart", word, flags),
      );
    });
}
