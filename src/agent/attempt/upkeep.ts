import { faultPoint } from "../../lib/fault.ts";
import type { ReleaseId } from "../../lib/ids.ts";
import type { AppContext } from "./app-context.ts";
import { readCurrent } from "../installs/folders.ts";
import { ownData } from "../installs/own-data.ts";
import type { Run } from "./instances.ts";
import type { Actual, Goal } from "../plan/plan.ts";
import type { ReleasePlan } from "../runtime/release-plan.ts";
import type { AppRecord } from "../plan/records.ts";

/** What is on this node of an app now. An attempt goes on by what is written of it: while it does, nobody looks round. */
export async function actualOf(context: AppContext, app: string, goal: Goal | null): Promise<Actual> {
  const record = context.records.get(app);
  if (record !== undefined && record.attempt !== null) {
    const { reached, attempt } = record;
    return { current: null, reached, attempt, running: [], tableOnly: [], fits: true };
  }
  const runs = await context.instances.running(app);
  const running = new Set(runs.map(({ release }) => release));
  const reached = new Set(runs.filter((run) => !run.tableOnly).map(({ release }) => release));
  if (record !== undefined) for (const id of await idle(context, record, running)) running.add(id);
  return {
    current: await readCurrent(context.folders(app)),
    reached: record?.reached ?? null,
    attempt: null,
    running: [...running],
    tableOnly: runs.map(({ release }) => release).filter((id) => !reached.has(id)),
    fits: record === undefined || !asksAnew(goal, record) || (await fits(context, record, runs)),
  };
}

/**
 * Whether an order that nobody answered yet asks for what is here. What was stopped by its name, crashed too often, or
 * runs by labels that the node had, stays so until then.
 */
function asksAnew(goal: Goal | null, { reached, verdicts }: AppRecord): boolean {
  if (goal === null || reached === null || goal.back || goal.state === "stopped") return false;
  return goal.order !== reached.order && verdicts[goal.order] === undefined;
}

async function fits(
  { instances, releases }: AppContext,
  record: AppRecord,
  runs: readonly Run[],
): Promise<boolean> {
  for (const id of wantedOf(record)) {
    if (!(await releases.isInstalled(record.app, id))) return false;
    const loaded = await releases.load(record, id);
    if (!(await instances.fits(loaded.plan(generationOf(id, record, runs))))) return false;
  }
  return true;
}

/**
 * Starts what had run before a reboot, or before the keeper lost it. Resolves to whether that changed anything.
 * Works without any hub as long as the release is on the disk.
 * @param all also look into releases that run, for instances of theirs that are missing
 */
export async function revive(
  context: AppContext,
  record: AppRecord,
  all: boolean,
  signal: AbortSignal,
): Promise<boolean> {
  const { instances, releases, log, depots, clock, groups } = context;
  const runs = await instances.running(record.app);
  const running = new Set(runs.map(({ release }) => release));
  for (const id of wantedOf(record).filter((one) => all || !running.has(one))) {
    faultPoint("agent.revive");
    if (!(await releases.isInstalled(record.app, id))) {
      await releases.ensure(record, id, depots(), signal, () => undefined);
    }
    const start = async (): Promise<ReleasePlan> => {
      const loaded = await releases.load(record, id);
      // Those beside it use it as it is.
      if (id === record.reached?.release)
        await ownData(context.folders(record.app), loaded.user, { clock, groups, signal });
      const found = loaded.plan(generationOf(id, record, runs));
      await instances.serve(found, signal);
      return found;
    };
    const plan = await start().catch(async (err: unknown) => {
      signal.throwIfAborted();
      if (running.has(id) || !(await isMended(context, record, id, signal))) throw err;
      return await start();
    });
    if (!running.has(id)) log.info("brought back", { app: record.app, release: id });
    // Nothing of it is for this node: then there is nothing to bring back either.
    if (plan.processes.length === 0 && !all) return false;
  }
  context.onNews("now");
  return true;
}

/** What does not start may lack files that its disk lost: puts them back. @returns whether there was anything to mend */
async function isMended(
  { releases, depots, log }: AppContext,
  record: AppRecord,
  release: ReleaseId,
  signal: AbortSignal,
): Promise<boolean> {
  const how = { depots: depots(), full: false, signal, onProgress: () => undefined };
  const { differences } = await releases.mend(record, release, how);
  if (differences.length === 0) return false;
  log.warn("files were mended", { app: record.app, release, differences: differences.length });
  return true;
}

/** Retires what nobody asks for any more, but for what callers on other nodes may still look up. */
export async function tidy(context: AppContext, record: AppRecord, goal: Goal | null): Promise<void> {
  const { instances, log } = context;
  const spare = goal?.everywhere !== true;
  const wanted = wantedOf(record);
  for (const run of await instances.running(record.app)) {
    if (wanted.includes(run.release)) continue;
    const { cut } = await instances.retire(run, spare);
    const fields = { app: record.app, release: run.release };
    if (cut > 0) log.warn(`${cut} connections were cut`, { ...fields, "err.code": "CONNECTIONS_CUT" });
    else log.info("retired", fields);
    faultPoint("agent.tidied");
  }
  context.onNews("now");
}

/** What should run here, the current one first. */
export function wantedOf({ reached }: AppRecord): readonly ReleaseId[] {
  if (reached === null || reached.state === "stopped") return [];
  return [reached.release, ...reached.beside].filter((id) => id !== null);
}

/**
 * Under which a release that should run has its instances. A restart is for the current one: those beside it go on under
 * what they were started with, and what of them is missing is started under the same.
 */
export function generationOf(
  release: ReleaseId,
  { reached }: Pick<AppRecord, "reached">,
  runs: readonly Run[],
): number {
  const newest = reached?.generation ?? 0;
  if (release === reached?.release) return newest;
  const own = runs.filter((run) => run.release === release);
  return (own.find(({ tableOnly }) => !tableOnly) ?? own[0])?.generation ?? newest;
}

/** A release without processes on this node serves by being there. */
async function idle(
  { releases }: AppContext,
  record: AppRecord,
  running: ReadonlySet<ReleaseId>,
): Promise<readonly ReleaseId[]> {
  const found: ReleaseId[] = [];
  for (const id of wantedOf(record)) {
    if (running.has(id) || !(await releases.isInstalled(record.app, id))) continue;
    const loaded = await releases.load(record, id);
    if (loaded.plan(0).processes.length === 0) found.push(id);
  }
  return found;
}
