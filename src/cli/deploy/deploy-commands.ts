import { setImmediate } from "node:timers/promises";
import type { Command } from "commander";
import type { Context } from "../command/context.ts";
import type { Run } from "../command/group.ts";
import { hasBucket } from "../command/has-bucket.ts";
import type { DeployFlags, RollbackFlags } from "../command/verb-flags.ts";

/** build, deploy, plan, rollback. */
export function registerDeploy(program: Command, run: Run): void {
  program
    .command("build")
    .description("build, test and publish a release of what is here, and deploy nothing")
    .argument("[source]", "a folder, archive or file; default: the commit HEAD here")
    .action(async (source: string | undefined, _flags: object, command: Command) => {
      await run(
        command,
        async (context) => await (await import("./deploy-bodies.ts")).build(context, source),
      );
    });
  deployLike(program.command("deploy"))
    .description("release what is here (or a version) and roll it out")
    .option("--follow", "then print what the new instances say, until Ctrl-C")
    .option("--watch", "deploy the folder as it is again whenever its files change, until Ctrl-C")
    .addHelpText(
      "after",
      "\nExamples:\n  skein deploy                    HEAD of the repository here\n  skein deploy ./app.tgz          an archive, a folder, an executable as it is\n  skein deploy shop 3f9c2ab1      a commit, tag, branch or release of shop\n  skein deploy shop role=web v2   on these nodes",
    )
    .action(async (words: string[], flags: DeployFlags, command: Command) => {
      await run(command, async (context) => {
        if (flags.watch !== true) {
          await load(context);
          return await (await import("./deploy-bodies.ts")).deploy(context, words, flags);
        }
        return await (await import("./deploy-watch.ts")).deployWatch(context, words, flags);
      });
    });
  deployLike(program.command("plan"))
    .description("show what deploy would change (exit 10), and change nothing")
    .action(async (words: string[], flags: DeployFlags, command: Command) => {
      await run(
        command,
        async (context) => await (await import("./deploy-bodies.ts")).plan(context, words, flags),
      );
    });
  program
    .command("rollback")
    .description("go back to the version that ran well before; again: one further")
    .argument("[app]")
    .option("--to <version>", "another one: a commit, tag, branch or release")
    .option("--attended", "sign that it stands only after the receipts were seen")
    .action(async (app: string | undefined, flags: RollbackFlags, command: Command) => {
      await run(
        command,
        async (context) => await (await import("./deploy-bodies.ts")).goBack(context, app, flags),
      );
    });
}

/**
 * Loads what deploying takes piece by piece, each in a turn of its own: the line to the hub is opened meanwhile.
 */
async function load(context: Context): Promise<void> {
  if (!hasBucket({})) context.connect();
  for (const piece of PIECES) {
    await setImmediate();
    await piece();
  }
}

const PIECES = [
  async () => await import("../../app/parse.ts"),
  async () => await import("../../operator/release/release.ts"),
  async () => await import("../../operator/deploy/resolve-wish.ts"),
];

function deployLike(command: Command): Command {
  return command
    .argument("[words...]", "APP, APP VERSION, APP SELECTOR VERSION, or a path")
    .option("--from <path>", "take a folder, archive or file as it is")
    .option("--version <version>", "commit, tag, branch or release")
    .option("--keep-old", "let the older versions run beside the new one")
    .option("--no-hooks", "run no hooks")
    .option("--attended", "sign that it stands only after the receipts were seen")
    .option("--apply-within <duration>", "nodes may start it this long (default 1h)")
    .option("--all-at-once", "all nodes in one batch")
    .option("--batch <amount>", "nodes at a time: 2, or 25%")
    .option("--bake <duration>", "watch the new version this long before it stands");
}
