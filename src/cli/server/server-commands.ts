import { Option, type Command } from "commander";
import type { Run } from "../command/group.ts";
import { usage } from "../command/grammar.ts";
import { cacheSizeOption, limitOptions, nearOptions } from "../command/traffic-flags.ts";
import type { InitFlags } from "../command/verb-flags.ts";
import type { HubFlags, UpFlags, AgentFlags } from "./server-flags.ts";

/** init, up, hub, agent, keeper. */
export function registerServers(program: Command, run: Run): void {
  program
    .command("init")
    .description("make an operator's identity and a new cluster's charter")
    .option("--name <name>", "how the charter calls you (default: the user's name)")
    .option(
      "--hub <address>",
      "HOST:PORT of this machine's hub, or HOST:PORT#KEY of another's (default: 127.0.0.1:7400)",
    )
    .option(
      "--bucket <address>",
      "a cluster without a hub: dir:PATH or s3://BUCKET/PREFIX (default: SKEIN_BUCKET, FTL_BUCKET)",
    )
    .option("--ssh-agent", "sign with the ssh-agent's Ed25519 key instead of a key file")
    .action(async (flags: InitFlags, command: Command) => {
      await run(command, async (context) => await (await import("./server-bodies.ts")).init(context, flags));
    });
  agentOptions(program.command("up"))
    .description("a hub and one agent on this machine, in one command; Ctrl-C stops both")
    .option("--listen <address>", "where the hub listens (default: 127.0.0.1:7400)")
    .action(async (flags: UpFlags, command: Command) => {
      await run(
        command,
        async (context) => await (await import("./server-bodies.ts")).upHere(context, flags),
      );
    });
  registerHub(program, run);
  registerAgent(program, run);
  program
    .command("keeper")
    .description("hold sockets and instances; started by the agent, or by its unit")
    .option("--shutdown", "end the keeper that runs here, and every instance as its manifest says")
    .action(async (flags: { readonly shutdown?: boolean }, command: Command) => {
      await run(
        command,
        async (context) => await (await import("./server-bodies.ts")).keeper(context, flags),
      );
    });
}

function registerHub(program: Command, run: Run): void {
  const hub = hubOptions(program.command("hub"))
    .description("run a hub: documents, rollouts, git, the port table")
    .action(async (flags: HubFlags, command: Command) => {
      await run(command, async (context) => await (await import("./server-bodies.ts")).hub(context, flags));
    });
  hubOptions(hub.command("install"))
    .description("write and start a systemd unit for the hub")
    .option("--print", "print what would be written, and the line for machines without systemd")
    .action(async (_flags: object, command: Command) => {
      await run(command, async (context) => {
        const flags = command.optsWithGlobals<HubFlags>();
        return await (await import("./install-bodies.ts")).installHub(context, flags);
      });
    });
  hub
    .command("backup")
    .description("copy the hub's state to a file, while it runs or not")
    .argument("<file>")
    .action(async (file: string, _flags: object, command: Command) => {
      await run(command, async (context) => await (await import("./server-bodies.ts")).backup(context, file));
    });
  hub
    .command("restore")
    .description("put a backup in the place of the hub's state; stop the hub first")
    .argument("<file>")
    .action(async (file: string, _flags: object, command: Command) => {
      await run(
        command,
        async (context) => await (await import("./server-bodies.ts")).restore(context, file),
      );
    });
}

function hubOptions(command: Command): Command {
  return cacheSizeOption(limitOptions(command))
    .addOption(
      new Option(
        "--depot <address>",
        "where releases are kept: s3://BUCKET/PREFIX (default: a folder here)",
      ).env("SKEIN_DEPOT"),
    )
    .option("--listen <address>", "HOST:PORT (default: the charter's, else 0.0.0.0:7400)")
    .option("--charter <file>", "the charter to begin with (default: that of skein init here)");
}

function registerAgent(program: Command, run: Run): void {
  const runs = async (words: string[], command: Command): Promise<void> => {
    refuseStray(words);
    await run(command, async (context) => {
      const flags = command.optsWithGlobals<AgentFlags>();
      return await (await import("./server-bodies.ts")).agent(context, words, flags);
    });
  };
  const agent = sourceOptions(agentOptions(program.command("agent")))
    .description("run this machine's agent (agent run), or install it (agent install)")
    .option("--join <line>", "the line of skein node invite; needed once")
    .argument("[words...]", "-- COMMAND: run this in place of every release's own processes")
    .action(async (words: string[], _flags: object, command: Command) => await runs(words, command));
  sourceOptions(agentOptions(agent.command("run")))
    .description("run it in the foreground")
    .option("--no-keeper", "do not start the keeper: wait for the one that a unit or supervisor starts")
    .option("--join <line>", "the line of skein node invite; needed once")
    .argument("[words...]", "-- COMMAND: run this in place of every release's own processes")
    .action(async (words: string[], _flags: object, command: Command) => await runs(words, command));
  sourceOptions(agentOptions(agent.command("install")))
    .description("write and start systemd units for keeper and agent")
    .option("--join <line>", "join first, with the line of skein node invite")
    .option("--print", "print what would be written, and the line for machines without systemd")
    .action(async (_flags: object, command: Command) => {
      await run(command, async (context) => {
        const flags = command.optsWithGlobals<AgentFlags>();
        return await (await import("./install-bodies.ts")).installNode(context, flags);
      });
    });
}

/** A mistyped verb would be run in place of every app. @throws SkeinError USAGE */
function refuseStray(words: readonly string[]): void {
  const dashes = process.argv.indexOf("--");
  const own = dashes === -1 ? 0 : process.argv.length - dashes - 1;
  const stray = words.slice(0, words.length - own);
  if (stray.length === 0) return;
  throw usage(
    `unknown command 'agent ${stray.join(" ")}'`,
    "skein agent run, skein agent install; a command of your own goes after --: skein agent run -- COMMAND.",
  );
}

function agentOptions(command: Command): Command {
  return nearOptions(command)
    .option("--name <name>", "the node's name where the ticket leaves it open (default: the host's)")
    .option(
      "--address <address>",
      "what others are told (default: --bind, else the host's first, also when it changes)",
    )
    .option("--bind <address>", "what sockets bind to (default: all addresses, or a loopback --address)");
}

function sourceOptions(command: Command): Command {
  return command
    .option("--source <bucket>", "pull from dir:PATH or s3://BUCKET/PREFIX instead of a hub")
    .option("--charter <fingerprint>", "with --source: what skein init printed (default: SKEIN_CHARTER)");
}
