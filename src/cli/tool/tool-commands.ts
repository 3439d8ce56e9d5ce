import type { Command } from "commander";
import type { Run } from "../command/group.ts";
import { tellVersion } from "../command/version.ts";

/** validate, gc, completion, version. */
export function registerTools(program: Command, run: Run): void {
  program
    .command("validate")
    .description("check skein.yaml; --full prints it with every default")
    .argument("[path]", "a folder or file", ".")
    .option("--full", "print the expansion")
    .action(async (path: string, flags: { full?: boolean }, command: Command) => {
      await run(
        command,
        async (context) =>
          await (await import("./tool-bodies.ts")).validate(context, path, flags.full === true),
      );
    });
  program
    .command("gc")
    .description("remove old releases from the nodes, by the manifest's keep")
    .argument("[words...]", "APP, and count N or older WHEN as they stand")
    .option("--count <n>", "keep this many")
    .option("--older <when>", "only what is older than 3d, or than a date")
    .option("--depot", "from the hub's depot, or a bucket, instead: what no kept release needs")
    .option("--damaged", "with --depot: read all of it, and remove what is damaged or not what it says")
    .option("--bucket <address>", "with --depot: dir:PATH or s3://BUCKET/PREFIX (default: SKEIN_BUCKET)")
    .action(
      async (
        words: string[],
        flags: { count?: string; older?: string; depot?: boolean; damaged?: boolean; bucket?: string },
        command: Command,
      ) => {
        await run(
          command,
          async (context) => await (await import("./tool-bodies.ts")).gc(context, words, flags),
        );
      },
    );
  program
    .command("completion")
    .description("print the completion script of a shell")
    .argument("<shell>", "bash, zsh or fish")
    .action(async (shell: string, _flags: object, command: Command) => {
      await run(command, async (context) =>
        (await import("./completion.ts")).completion(context, program, shell),
      );
    });
  program
    .command("version")
    .description("print the version")
    .action(async (_flags: object, command: Command) => {
      await run(command, async ({ io }) => tellVersion(io));
    });
}
