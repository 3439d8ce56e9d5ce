import { SkeinError } from "../../lib/errors/errors.ts";
import { shortRelease } from "../../lib/text/ids.ts";
import { troubleIn, type Answer } from "../../operator/ask/ask.ts";
import * as operator from "../../operator/ask/purge.ts";
import type { Context, Result } from "../command/context.ts";
import { TROUBLED_EXIT, troubleText } from "../command/trouble.ts";
import { releaseNamed } from "../command/release-named.ts";

export async function purge(context: Context, app: string, version: string): Promise<Result> {
  const { globals, env, io, signal } = context;
  const dry = globals.dryRun === true;
  const release = await releaseNamed(context, app, version);
  const wish = { app, env, selector: globals.on ?? null, release, dry };
  const answers = await operator.purge(await context.operator(), wish, signal);
  const removed = answers.filter(({ lines }) => lines.some(({ type }) => type === "removed"));
  for (const { node } of removed)
    io.print(`${node}  ${shortRelease(app, release)} ${dry ? "would go" : "removed"}`);
  const troubles = answers.flatMap(({ lines }) => lines.filter(({ type }) => type === "trouble"));
  for (const line of troubles) io.say(troubleText(app, line));
  const silent = answers.filter(({ outcome }) => outcome === "silent").map(({ node }) => node);
  if (silent.length > 0) {
    throw new SkeinError("NODES_SILENT", `it was not removed from ${silent.join(" ")}`, {
      data: { nodes: silent },
    });
  }
  if (removed.length === 0) io.say("No node has it.");
  const exit = troubles.length === 0 ? {} : { exit: TROUBLED_EXIT };
  return { app, release, removed: removed.map(({ node }) => node), troubles, ...exit };
}

export async function pin(context: Context, app: string, version: string, pinned: boolean): Promise<Result> {
  const { globals, env, io, signal } = context;
  const release = await releaseNamed(context, app, version);
  const wish = { app, env, selector: globals.on ?? null, release, pinned };
  const answers = await operator.pin(await context.operator(), wish, signal);
  const named = (outcome: Answer["outcome"]): string[] =>
    answers.filter((answer) => answer.outcome === outcome).map(({ node }) => node);
  const [nodes, later] = [named("ok"), named("silent")];
  const what = `${shortRelease(app, release)} is ${pinned ? "pinned" : "not pinned any more"}`;
  if (nodes.length > 0) io.print(`${what} on ${nodes.join(" ")}`);
  if (later.length > 0) io.say(`${what} on ${later.join(" ")} when it hears of it, within 7 days`);
  const trouble = troubleIn(answers.filter(({ outcome }) => outcome !== "silent"));
  if (trouble !== null) throw trouble;
  return { app, release, pinned, nodes, later };
}
