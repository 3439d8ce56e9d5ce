import { SkeinError } from "../../lib/errors.ts";
import { shortRelease } from "../../lib/ids.ts";
import * as operator from "../../operator/purge.ts";
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
  if (removed.length === 0) io.say("No node has it.");
  const silent = answers.filter(({ outcome }) => outcome === "silent").map(({ node }) => node);
  if (silent.length > 0) {
    throw new SkeinError("NODES_SILENT", `it was not removed from ${silent.join(" ")}`, {
      data: { nodes: silent },
    });
  }
  const troubles = answers.flatMap(({ lines }) => lines.filter(({ type }) => type === "trouble"));
  for (const line of troubles) io.say(troubleText(app, line));
  const exit = troubles.length === 0 ? {} : { exit: TROUBLED_EXIT };
  return { app, release, removed: removed.map(({ node }) => node), troubles, ...exit };
}

export async function pin(context: Context, app: string, version: string, pinned: boolean): Promise<Result> {
  const { globals, env, io, signal } = context;
  const release = await releaseNamed(context, app, version);
  const wish = { app, env, selector: globals.on ?? null, release, pinned };
  const nodes = await operator.pin(await context.operator(), wish, signal);
  io.print(
    `${shortRelease(app, release)} is ${pinned ? "pinned" : "not pinned any more"} on ${nodes.join(" ")}`,
  );
  return { app, release, pinned, nodes };
}
