import type { Command } from "commander";
import type { Run } from "../command/group.ts";
import type { PlaceFlags } from "../command/has-bucket.ts";
import { fetchOptions } from "../command/traffic-flags.ts";
import { VERSION } from "../command/version.ts";
import { DEFAULT_WAIT, type MasterFlags, type SpoolFlags, type SyncFlags } from "./ftl-flags.ts";

const FOOT = `
FTL_BUCKET and FTL_ROOT (or SKEIN_BUCKET and SKEIN_ROOT) say where; SKEIN_CHARTER is the cluster's fingerprint.
Each folder of the root is a package that this machine is to have.`;

/** FTL's verbs, at the front door and under \`ftl\`. */
export function registerFtl(program: Command, run: Run): void {
  verbs(program, run);
  const ftl = program
    .command("ftl")
    .description("FTL's verbs: revisions through a bucket, without a hub")
    .version(VERSION, "--version")
    .addHelpText("after", FOOT);
  verbs(ftl, run);
  importer(ftl, run);
  placed(ftl.command("list"))
    .description("packages here; or a package's revisions, the active one marked")
    .argument("[package]")
    .option("--master", "in the bucket instead of on this machine; so does --bucket without --root")
    .action(async (name: string | undefined, flags: MasterFlags, command: Command) => {
      // Who names a bucket asks about that one, as skein list does; no machine's packages lie there.
      const master = flags.master === true || (flags.bucket !== undefined && flags.root === undefined);
      await run(command, async (context) => await (await bodies({ master })).list(context, name, flags));
    });
}

function importer(ftl: Command, run: Run): void {
  placed(ftl.command("import"))
    .description("take the revisions of an old FTL bucket over, and order what was active there")
    .argument("<old>", "dir:PATH or s3://BUCKET")
    .argument("[packages...]", "only these")
    .action(async (old: string, packages: string[], flags: PlaceFlags, command: Command) => {
      await run(command, async (context) =>
        (await import("./ftl-import.ts")).importOld(context, old, packages, flags),
      );
    });
}

function verbs(program: Command, run: Run): void {
  placed(program.command("spool"))
    .description("publish a file as a new revision of a package, and activate nothing")
    .argument("<file>", "an archive, or any file; the package is its name up to the first dot")
    .option(
      "--layout <layout>",
      "ftl: also as FTL's own clients read it, PKG.REV.tar.gz and PKG.rev",
      "skein",
    )
    .action(async (file: string, flags: SpoolFlags, command: Command) => {
      await run(
        command,
        async (context) => await (await import("./ftl-master.ts")).spool(context, file, flags),
      );
    });
  fetchOptions(placed(program.command("sync")))
    .description("bring this machine's packages to what the bucket says")
    .option("--every <duration>", "stay, and look again so often")
    .option("--wait <duration>", "for another process that works on a package", DEFAULT_WAIT)
    .option(
      "--max-age <duration>",
      "fail when nothing newer was signed for so long: the bucket may be an old copy",
    )
    .option("--print", "print a unit, and lines for cron, that run it")
    .action(async (flags: SyncFlags, command: Command) => {
      await run(command, async (context) => await (await import("./ftl-here.ts")).sync(context, flags));
    });
  jumps(program, run);
}

function jumps(program: Command, run: Run): void {
  placed(program.command("jump"))
    .description("activate a revision here until a newer order comes; --master: order it for all machines")
    .argument("<revision>", "PACKAGE.REVISION")
    .option("--master", "for all machines, signed with the operator's key")
    .option("--spread <duration>", "with --master: machines begin within this time, each at its own moment")
    .option("--again", "with --master: sign it anew though it is active already; nothing runs")
    .action(async (word: string, flags: MasterFlags, command: Command) => {
      await run(command, async (context) => await (await bodies(flags)).jump(context, word, flags));
    });
  placed(program.command("jump-back"))
    .description("activate what was active before")
    .argument("<package>")
    .option("--master", "for all machines, signed with the operator's key")
    .option("--spread <duration>", "with --master: machines begin within this time, each at its own moment")
    .action(async (name: string, flags: MasterFlags, command: Command) => {
      await run(command, async (context) => await (await bodies(flags)).jumpBack(context, name, flags));
    });
  placed(program.command("purge"))
    .description(
      "remove one release: APP VERSION from a hub's nodes, --master PACKAGE.REVISION from the bucket",
    )
    .argument("<what>", "an app; or PACKAGE.REVISION, which machines remove at their next sync")
    .argument("[version]", "commit, tag, branch or release; refused while a node needs it")
    .option("--master", "from the bucket")
    .action(async (word: string, version: string | undefined, flags: MasterFlags, command: Command) => {
      await run(command, async (context) => {
        if (version === undefined || flags.master === true)
          return await (await import("./ftl-master.ts")).purge(context, word, flags, version);
        return await (await import("./purge-bodies.ts")).purge(context, word, version);
      });
    });
}

/** Two files: what is for this machine alone starts sooner. */
const bodies = async ({ master }: MasterFlags) =>
  master === true ? await import("./ftl-master.ts") : await import("./ftl-here.ts");

function placed(command: Command): Command {
  return command
    .option("--bucket <address>", "dir:PATH or s3://BUCKET/PREFIX (default: SKEIN_BUCKET, FTL_BUCKET)")
    .option("--root <folder>", "where this machine's packages are (default: SKEIN_ROOT, FTL_ROOT)");
}
