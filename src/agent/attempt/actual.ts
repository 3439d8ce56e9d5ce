import type { ReleaseId } from "../../lib/text/ids.ts";
import { readCurrent } from "../installs/folders.ts";
import type { Actual, Goal } from "../plan/plan.ts";
import type { AppRecord } from "../plan/records.ts";
import type { AppContext } from "./app-context.ts";
import type { Run } from "./instances.ts";

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
