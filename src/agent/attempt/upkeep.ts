import { faultPoint } from "../../lib/process/fault.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import { generationOf, wantedOf } from "./actual.ts";
import type { AppContext } from "./app-context.ts";
import { ownData } from "../installs/own-data.ts";
import type { Goal } from "../plan/plan.ts";
import type { ReleasePlan } from "../runtime/release-plan.ts";
import type { AppRecord } from "../plan/records.ts";

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
