import type { Command } from "commander";
import type { Run } from "../command/group.ts";
import type { InviteFlags } from "../command/verb-flags.ts";

const gather = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];

/** node invite, ls, show, rm, label. */
export function registerNodes(program: Command, run: Run): void {
  const node = program.command("node").description("let nodes in, list, label and remove them");
  node
    .command("invite")
    .description("print one line that lets one new node join")
    .argument("[name]", "its name; default: the machine's own word")
    .option("--label <key=value>", "a label; may be given again", gather)
    .option("--valid <duration>", "how long the line may be used", "1h")
    .option("--replace <node>", "take over this node's name and labels; its identity ends")
    .action(async (name: string | undefined, flags: InviteFlags, command: Command) => {
      await run(
        command,
        async (context) => await (await import("./node-bodies.ts")).invite(context, name, flags),
      );
    });
  node
    .command("ls")
    .description("list nodes")
    .argument("[selector]")
    .action(async (selector: string | undefined, _flags: object, command: Command) => {
      await run(command, async (context) => await (await import("./node-bodies.ts")).list(context, selector));
    });
  node
    .command("show")
    .description("one node, and what it runs")
    .argument("<name>")
    .action(async (name: string, _flags: object, command: Command) => {
      await run(command, async (context) => await (await import("./node-bodies.ts")).show(context, name));
    });
  node
    .command("rm")
    .description("end a node's membership; what runs there goes on")
    .argument("<name>")
    .action(async (name: string, _flags: object, command: Command) => {
      await run(command, async (context) => await (await import("./node-bodies.ts")).remove(context, name));
    });
  node
    .command("label")
    .description("set labels (role=web, canary), or take them away (role-)")
    .argument("<name>")
    .argument("<labels...>")
    .action(async (name: string, labels: string[], _flags: object, command: Command) => {
      await run(
        command,
        async (context) => await (await import("./node-bodies.ts")).label(context, name, labels),
      );
    });
}
