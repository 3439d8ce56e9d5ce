import { randomBytes } from "node:crypto";
import type { BlobEntry, PrunableDepot } from "../../depot/seam/depot.ts";
import type { Clock } from "../../lib/time/clock.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import { fewAtOnce } from "../../lib/async/few-at-once.ts";
import type { TreeId } from "../../lib/text/ids.ts";
import { GRACE_MS, type PublishedTree } from "../tree/published.ts";
import { planOf, type PlanCounts, type Step } from "./collect-plan.ts";
import { FOLDERS, forgetRun, isOwn, readRuns, retiredIn, runId, writeRun } from "./ledger.ts";
import { Marking } from "./marking.ts";
import { seesRetired } from "./retired.ts";

/**
 * Removes what no kept release needs, from a store without locks, while others publish, deploy and collect. A blob
 * goes in three runs, at least `graceMs` apart:
 *
 * 1. noted: no kept release needs it;
 * 2. retired: still none does; it gets another name, so whoever publishes from now on does not find it and stores
 *    it again (under the name that nobody deletes);
 * 3. deleted, or given its name back where a release that needs it has come meanwhile.
 *
 * A publisher that found the blob before it was retired has written its release long before the third run: `graceMs`
 * is longer than from a publisher's last look at its packs to its release. What is deleted is only what this very
 * run or an earlier one had renamed under its own id, so runs that overlap, stop for hours or are killed take nothing
 * from each other. A reader that meets a retired blob finds it (retired.ts).
 */
export interface CollectOptions {
  readonly depot: PrunableDepot;
  /** The kept releases, asked for after the depot was listed: whoever publishes writes them last. */
  readonly roots: (signal: AbortSignal) => AsyncIterable<PublishedTree> | Iterable<PublishedTree>;
  /** In ms. Default 24 hours. */
  readonly graceMs?: number;
  /** Change nothing, only count. */
  readonly dryRun?: boolean;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface Collected extends PlanCounts {
  /** Uploads that nobody went on with. */
  readonly uploads: number;
  /** Kept releases whose index cannot be read: while there is one, no pack is removed. */
  readonly unreadable: readonly TreeId[];
}

/** @throws whatever the depot and the roots throw; what was done until then stays done, and the next run goes on */
export async function collect(options: CollectOptions): Promise<Collected> {
  const { depot, clock, signal, graceMs = GRACE_MS } = options;
  const id = runId(clock.now(), randomBytes(4).toString("hex"));
  const runs = await readRuns(depot, signal);
  const settledBefore = clock.now() - graceMs;
  const found = await listAll(depot, signal);
  const retired = await Array.fromAsync(retiredIn(depot, signal));
  const marking = new Marking();
  const reader = seesRetired(depot);
  const roots = await Array.fromAsync(options.roots(signal));
  await fewAtOnce(roots, async (root) => await marking.add(reader, root, signal));
  const plan = planOf({ id, runs, settledBefore, found, retired, marking });
  const counted = { ...plan.counts, unreadable: marking.unreadable };
  if (options.dryRun === true) return { ...counted, uploads: 0 };
  await fewAtOnce(plan.steps, async (step) => {
    signal.throwIfAborted();
    await take(depot, step, signal);
    faultPoint("upkeep.step");
  });
  await writeRun(depot, { id, doneMs: clock.now(), noted: plan.noted }, signal);
  faultPoint("upkeep.written");
  for (const run of runs) if (run.doneMs <= settledBefore) await forgetRun(depot, run.id, signal);
  return { ...counted, uploads: await depot.sweepUploads(graceMs, clock.now(), signal) };
}

async function listAll(depot: PrunableDepot, signal: AbortSignal): Promise<BlobEntry[]> {
  const found: BlobEntry[] = [];
  for (const folder of FOLDERS) {
    for await (const entry of depot.entries(folder, signal)) if (isOwn(entry.name)) found.push(entry);
  }
  return found;
}

/** Somebody else may have taken the step already. */
async function take(depot: PrunableDepot, step: Step, signal: AbortSignal): Promise<void> {
  const { from, to } = step;
  // An index that was written since the depot was listed may lead elsewhere, and what the old one leads to may go.
  if (to === null || (isOwn(to) && (await depot.has([to], signal)).size > 0)) {
    await depot.delete(from, signal);
    return;
  }
  try {
    await depot.rename(from, to, signal);
  } catch (err) {
    if (!isSkeinError(err, "BLOB_MISSING")) throw err;
  }
}
