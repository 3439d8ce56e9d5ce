import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { appAsTyped, shortRelease, type ReleaseId } from "../../lib/text/ids.ts";
import { compareFiles, drift, type NodeDrift } from "../../operator/ask/drift.ts";
import { repair as repairNodes, type RepairedNode } from "../../operator/ask/repair.ts";
import { appHere } from "../command/app-here.ts";
import type { Context, Result } from "../command/context.ts";
import { everyFlag, usage } from "../command/grammar.ts";
import { leaveWithReader } from "../terminal/reader-gone.ts";
import { columns } from "../terminal/io.ts";
import { releaseNamed } from "../command/release-named.ts";
import { exitOf, reportError } from "../terminal/report-error.ts";

export interface RepairFlags {
  readonly fullCopy?: boolean;
  readonly watch?: boolean;
  readonly every?: string;
}

export async function showDrift(context: Context, word: string | undefined, files: boolean): Promise<Result> {
  const operator = await context.operator();
  const app = await appHere(context, word);
  const wish = { ...placeOf(context, app), files, health: true };
  return judged(context, app, await drift(operator, wish, context.signal), "DRIFT");
}

export async function compareChecksums(
  context: Context,
  word: string | undefined,
  version: string | undefined,
): Promise<Result> {
  const operator = await context.operator();
  const app = await appHere(context, word);
  const asked = version === undefined ? null : await releaseNamed(context, app, version);
  const { release, nodes } = await compareFiles(
    operator,
    { ...placeOf(context, app), release: asked },
    context.signal,
  );
  return { ...judged(context, app, nodes, "INSTALL_TAMPERED"), release };
}

const placeOf = (context: Context, app: string) => ({
  app,
  env: context.env,
  selector: context.globals.on ?? null,
});

/** Prints what each node said. @throws SkeinError with `code` when anything differs, NODES_SILENT when nobody can tell */
function judged(
  context: Context,
  app: string,
  nodes: readonly NodeDrift[],
  code: "DRIFT" | "INSTALL_TAMPERED",
): Result {
  for (const node of nodes) {
    context.io.event({ type: "drift", ...node });
    for (const line of driftLines(app, node)) context.io.print(line);
  }
  const differing = nodes.filter((node) => node.differs.length > 0 || node.filesDiffering > 0);
  const silent = nodes.filter(({ outcome }) => outcome === "silent").map(({ node }) => node);
  if (differing.length > 0) {
    throw new SkeinError(code, `${app} differs on ${differing.length} of ${nodes.length} nodes`, {
      hint: `Mend it: skein repair ${appAsTyped(app, context.env)}`,
      data: { app, nodes: differing, silent },
    });
  }
  if (silent.length > 0) throw nodesSilent(silent, nodes.length);
  return { app, nodes };
}

const nodesSilent = (silent: readonly string[], of: number): SkeinError =>
  new SkeinError("NODES_SILENT", `${silent.length} of ${of} nodes did not answer: ${silent.join(" ")}`, {
    data: { nodes: silent },
  });

function driftLines(app: string, { node, outcome, differs, files, filesDiffering }: NodeDrift): string[] {
  if (outcome === "silent") return [`${node}  absent`];
  const rows = files.map((one) => [node, one.reason, one.path, shortRelease(app, one.release as ReleaseId)]);
  const more = filesDiffering - files.length;
  const lines = [
    ...differs.map((text) => `${node}  ${text}`),
    ...columns(rows),
    ...(more > 0 ? [`${node}  and ${more} more files`] : []),
  ];
  return lines.length === 0 ? [`${node}  OK`] : lines;
}

export async function repair(
  context: Context,
  word: string | undefined,
  flags: RepairFlags,
): Promise<Result> {
  if (flags.every !== undefined && flags.watch !== true)
    throw usage("--every says how often --watch looks", "Add --watch, or leave --every out.");
  const app = await appHere(context, word);
  if (flags.watch !== true || context.dryRun !== undefined)
    return await repairOnce(context, app, { full: flags.fullCopy === true, quiet: false });
  using _ = leaveWithReader();
  const everyMs = everyFlag(flags.every ?? "30s");
  context.comeBack("What was mended stays so.");
  for (let full = flags.fullCopy === true; ; full = false) {
    await watchOnce(context, app, full);
    // So that several who watch do not all look at one moment.
    await sleep(everyMs * (0.5 + Math.random()), context.signal);
  }
}

interface RepairHow {
  readonly full: boolean;
  /** Say nothing of nodes where all is well. */
  readonly quiet: boolean;
}

/** What fails is told, and looked at again the next time. */
async function watchOnce(context: Context, app: string, full: boolean): Promise<void> {
  try {
    await repairOnce(context, app, { full, quiet: true });
  } catch (err) {
    if (context.signal.aborted || exitOf(err) === 2 || isSkeinError(err, "NOT_AUTHORISED")) throw err;
    reportError(context.io, err);
  }
}

async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  const { setTimeout } = await import("node:timers/promises");
  await setTimeout(ms, undefined, { signal });
}

async function repairOnce(context: Context, app: string, how: RepairHow): Promise<Result> {
  const operator = await context.operator();
  const tell = (node: RepairedNode): void => {
    context.io.event({ type: "repair", ...node });
    if (how.quiet && node.outcome === "well") return;
    for (const line of repairLines(node)) context.io.print(line);
  };
  const wish = { ...placeOf(context, app), full: how.full };
  const nodes = await repairNodes(operator, wish, { signal: context.signal, tell });
  const bad = nodes.filter(({ outcome }) => outcome === "failed");
  const silent = nodes.filter(({ outcome }) => outcome === "silent").map(({ node }) => node);
  if (bad.length > 0) {
    throw new SkeinError("REPAIR_INCOMPLETE", `${bad.length} of ${nodes.length} nodes could not be mended`, {
      data: {
        app,
        nodes,
        silent,
        lines: bad.map(({ node, code, message }) => `${node}: ${code} ${message}`),
      },
    });
  }
  if (silent.length > 0) throw nodesSilent(silent, nodes.length);
  return { app, nodes };
}

function repairLines({ node, outcome, done, code, message }: RepairedNode): string[] {
  const lines = done.map((text) => `${node}  ${text}`);
  if (outcome === "well") return [`${node}  OK`];
  if (outcome === "silent") return [`${node}  absent`];
  return outcome === "failed" ? [...lines, `${node}  ERROR ${code ?? ""} ${message ?? ""}`] : lines;
}
