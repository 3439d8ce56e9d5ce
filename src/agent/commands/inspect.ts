import { SkeinError } from "../../lib/errors/errors.ts";
import { isReleaseId, type ReleaseId } from "../../lib/text/ids.ts";
import type { Command } from "../../trust/document/documents.ts";
import type { AppContext } from "../attempt/app-context.ts";
import type { Line } from "./command-lines.ts";
import { readCurrent } from "../installs/folders.ts";
import { failingOf } from "../health/health.ts";
import type { AppRecord } from "../plan/records.ts";
import type { AppRuntime } from "../runtime/runtime.ts";
import { lacking, surplus, type Lack } from "../runtime/lacking.ts";
import { wantedOf } from "../attempt/actual.ts";

/** Differing files that are named; the rest is counted. */
export const NAMED = 1000;

/**
 * Tells what there is of an app here, and changes nothing: what should run and what does, and (`files`) each installed
 * file that is not what was signed, and (`health`) each instance that fails its check, and why.
 * @throws SkeinError RELEASE_NOT_FOUND when a release that is asked about is not installed
 */
export async function* inspect(
  context: AppContext,
  runtime: AppRuntime,
  record: AppRecord,
  { args }: Pick<Command, "args">,
  signal: AbortSignal,
): AsyncGenerator<Line, void> {
  const asked = typeof args["release"] === "string" && isReleaseId(args["release"]) ? args["release"] : null;
  if (asked === null) yield* running(context, runtime, record);
  if (args["files"] === true) {
    for (const id of asked === null ? wantedOf(record) : [asked]) yield* files(context, record, id, signal);
  }
  if (args["health"] !== true) return;
  for (const { instance, why } of await failingOf(context, runtime, record, signal))
    yield { type: "ailing", instance, why };
}

async function* running(
  context: AppContext,
  runtime: AppRuntime,
  record: AppRecord,
): AsyncGenerator<Line, void> {
  const { reached, attempt } = record;
  const current = await readCurrent(context.folders(record.app));
  const { order = null, release = null, state = null, generation = null } = reached ?? {};
  yield { type: "running", current, order, release, state, generation, busy: attempt !== null };
  const { missing, surplus: over } = await shapeOf(context, runtime, record);
  for (const one of missing) yield { type: "missing", ...one };
  for (const one of over) yield { type: "surplus", ...one };
}

export interface Missing extends Lack {
  readonly release: ReleaseId;
}

interface Surplus {
  readonly release: ReleaseId;
  readonly process: string;
  /** How many of its instances run, although the node's labels do not ask for them any more. */
  readonly instances: number;
}

/** How what runs differs from what is to run here, process by process. */
export interface Shape {
  readonly missing: readonly Missing[];
  readonly surplus: readonly Surplus[];
}

export async function shapeOf(context: AppContext, runtime: AppRuntime, record: AppRecord): Promise<Shape> {
  const rows = (await runtime.list()).filter(({ app }) => app === record.app);
  const missing: Missing[] = [];
  const over: Surplus[] = [];
  for (const release of wantedOf(record)) {
    if (!(await context.releases.isInstalled(record.app, release))) continue;
    const { processes } = (await context.releases.load(record, release)).plan(
      record.reached?.generation ?? 0,
    );
    const own = rows.filter((row) => row.release === release);
    missing.push(...lacking(own, processes).map((lack) => ({ release, ...lack })));
    const counts = Map.groupBy(surplus(own, processes), ({ process }) => process);
    for (const [process, { length }] of counts) over.push({ release, process, instances: length });
  }
  return { missing, surplus: over };
}

async function* files(
  context: AppContext,
  record: AppRecord,
  release: ReleaseId,
  signal: AbortSignal,
): AsyncGenerator<Line, void> {
  if (!(await context.releases.isInstalled(record.app, release))) {
    throw new SkeinError("RELEASE_NOT_FOUND", `${record.app}@${release.slice(0, 8)} is not installed here`, {
      data: { release },
    });
  }
  const differences = await context.releases.differences(record, release, signal);
  for (const one of differences.slice(0, NAMED)) yield { type: "difference", release, ...one };
  yield { type: "compared", release, differences: differences.length };
}
