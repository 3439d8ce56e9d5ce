import type { Command } from "commander";
import type { Run } from "../command/group.ts";
import type { MasterFlags } from "../bucket/ftl-flags.ts";
import type { PortFlags } from "./view-bodies.ts";
import type { LogFlags } from "./log-bodies.ts";

/** list, status, releases, show, ports, check, verify, logs. */
export function registerViews(program: Command, run: Run): void {
  program
    .command("list")
    .alias("ls")
    .description("apps, then nodes; or: nodes, versions, an app's releases, the nodes of a selector")
    .argument("[what]")
    .option("--master", "what a bucket has: its packages, or a package's revisions (skein ftl list)")
    .option("--bucket <address>", "what this one has, as with --master: dir:PATH or s3://BUCKET/PREFIX")
    .action(async (what: string | undefined, flags: MasterFlags, command: Command) => {
      await run(command, async (context) => {
        if (flags.master === true || flags.bucket !== undefined)
          return await (await import("../bucket/ftl-master.ts")).list(context, what, flags);
        return await (await import("./view-bodies.ts")).list(context, what);
      });
    });
  program
    .command("status")
    .description("what should run, and what does, on each node")
    .argument("[app]")
    .action(async (app: string | undefined, _flags: object, command: Command) => {
      await run(command, async (context) => await (await import("./view-bodies.ts")).status(context, app));
    });
  const releases = program
    .command("releases")
    .description("the releases of an app, newest first, and on how many nodes each runs")
    .argument("[app]")
    .option("--limit <n>", "how many", "20")
    .action(async (app: string | undefined, flags: { limit: string }, command: Command) => {
      await run(
        command,
        async (context) => await (await import("./view-bodies.ts")).releases(context, app, flags.limit),
      );
    });
  registerPins(releases, run);
  registerPorts(program, run);
  registerQuestions(program, run);
}

function registerPins(releases: Command, run: Run): void {
  for (const [verb, does] of [
    ["pin", "keep a release on the nodes, whatever gc would remove"],
    ["unpin", "let gc remove it again"],
  ] as const) {
    releases
      .command(verb)
      .description(does)
      .argument("<app>")
      .argument("<version>", "commit, tag, branch or release")
      .action(async (app: string, version: string, _flags: object, command: Command) => {
        await run(
          command,
          async (context) =>
            await (await import("../bucket/purge-bodies.ts")).pin(context, app, version, verb === "pin"),
        );
      });
  }
}

/** What the nodes are asked themselves. */
function registerQuestions(program: Command, run: Run): void {
  program
    .command("check")
    .description("print what runs; with a version: OK, or exit 1")
    .argument("[app]")
    .argument("[version]")
    .action(
      async (app: string | undefined, version: string | undefined, _flags: object, command: Command) => {
        await run(
          command,
          async (context) => await (await import("./view-bodies.ts")).check(context, app, version),
        );
      },
    );
  program
    .command("verify")
    .description("run the manifest's verification on each node, and say where there is none")
    .argument("[app]")
    .argument("[version]")
    .action(
      async (app: string | undefined, version: string | undefined, _flags: object, command: Command) => {
        await run(
          command,
          async (context) => await (await import("./log-bodies.ts")).verify(context, app, version),
        );
      },
    );
  program
    .command("logs")
    .description("what an app's instances and hooks print")
    .argument("[app]")
    .option("-f, --follow", "go on until Ctrl-C")
    .option("-n, --lines <n>", "of each instance", "100")
    .option("--process <name>", "of this process only, or of one instance (web.1), or hooks")
    .action(async (app: string | undefined, flags: LogFlags, command: Command) => {
      await run(
        command,
        async (context) => await (await import("./log-bodies.ts")).logs(context, app, flags),
      );
    });
}

function registerPorts(program: Command, run: Run): void {
  program
    .command("show")
    .description("the port table")
    .argument("[app]")
    .option("--by <column>", "commit: a JSON table by commit and process")
    .action(async (app: string | undefined, flags: PortFlags, command: Command) => {
      await run(
        command,
        async (context) => await (await import("./view-bodies.ts")).ports(context, app, flags),
      );
    });
  const ports = program
    .command("ports")
    .description("the port table: which instance listens where")
    .argument("[app]")
    .option("--by <column>", "commit: a JSON table by commit and process")
    .action(async (app: string | undefined, flags: PortFlags, command: Command) => {
      await run(
        command,
        async (context) => await (await import("./view-bodies.ts")).ports(context, app, flags),
      );
    });
  ports
    .command("watch")
    .description("follow the table's changes")
    .action(async (_flags: object, command: Command) => {
      await run(command, async (context) => await (await import("./view-bodies.ts")).watchPorts(context));
    });
}
