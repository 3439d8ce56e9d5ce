import type { Command } from "commander";
import type { Run } from "../command/group.ts";
import type { ShelfFlags, PresignFlags, ExportFlags } from "./release-bodies.ts";

const BUCKET = "--bucket <address>";
const BUCKET_HELP = "dir:PATH or s3://BUCKET/PREFIX instead of the hub (default: SKEIN_BUCKET)";

/** release export, release import, release presign. */
export function registerRelease(program: Command, run: Run): void {
  const release = program.command("release").description("carry releases to machines without a network");
  release
    .command("export")
    .description(
      "write a release into one file: its bytes, its signed document, the charters that vouch for it",
    )
    .argument("<app>")
    .argument(
      "<version>",
      "a release, or the beginning of its id; from a hub also a commit, tag or branch here",
    )
    .option("--from <version>", "leave out what this earlier release has")
    .option("--output <file>", "where to (-: standard output; default: APP-ID.skein)")
    .option(BUCKET, BUCKET_HELP)
    .action(async (app: string, version: string, flags: ExportFlags, command: Command) => {
      await run(
        command,
        async (context) => await (await import("./release-bodies.ts")).exportTo(context, app, version, flags),
      );
    });
  release
    .command("import")
    .description("take a release out of a file, after everything in it was proved")
    .argument("<file>", "what release export wrote; -: standard input")
    .option(BUCKET, BUCKET_HELP)
    .action(async (file: string, flags: ShelfFlags, command: Command) => {
      await run(
        command,
        async (context) => await (await import("./release-bodies.ts")).importFrom(context, file, flags),
      );
    });
  release
    .command("presign")
    .description("write a list of addresses with which machines read a bucket that have no keys for it")
    .option("--for <duration>", "how long they work, at most 7d", "7d")
    .option("--output <file>", "where to (-: standard output); as good as a key until then", "presigned.json")
    .option("--bucket <address>", "s3://BUCKET/PREFIX (default: SKEIN_BUCKET)")
    .action(async (flags: PresignFlags, command: Command) => {
      await run(
        command,
        async (context) => await (await import("./release-bodies.ts")).presign(context, flags),
      );
    });
}
