/** Keeps the hub's depot small: by itself at long intervals, and when an operator asks for it. */
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { claimDepot } from "../../release/upkeep/owner.ts";
import type { Tidied } from "../../release/upkeep/tidy.ts";
import type { Charter } from "../../trust/document/documents.ts";
import type { Envelope } from "../../trust/document/envelope.ts";
import type { CatchUp } from "../cluster/catch-up.ts";
import type { Charters } from "../cluster/charters.ts";
import type { Core } from "../records/core.ts";
import { keptReleases, type KeptParts } from "./kept-releases.ts";

export interface UpkeepParts extends KeptParts {
  readonly core: Core;
  readonly charters: Charters;
  readonly catchUp: CatchUp;
}

/** Of uploads that nobody goes on with. */
const UPLOADS_KEPT_MS = 24 * 3_600_000;

/** What a depot refuses is said at once; one that is away at present may come back. */
async function whereReached({ log }: Core, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (err) {
    if (!isSkeinError(err, "DEPOT_UNREACHABLE")) throw err;
    log.warn("the depot cannot be reached", { err: String(err) });
  }
}

/** A folder is this hub's alone; a bucket may be another cluster's. @throws SkeinError WRONG_CLUSTER, DEPOT_* */
async function claimBucket({ depot, signal }: Core, cluster: string): Promise<void> {
  if (depot.kind === "bucket") await claimDepot(depot, cluster, signal);
}

/** A hub's first look at its depot, which claims a bucket for its cluster, where it has one. */
export async function lookAtDepot(core: Core, { current }: Charters): Promise<void> {
  await whereReached(core, async () => {
    if (current !== undefined) await claimBucket(core, current.cluster);
    await sweepUploads(core);
  });
}

/** A file that vanishes under it, or a disk that fails, is met again in the next round. */
export async function sweepQuietly(core: Core): Promise<void> {
  try {
    await sweepUploads(core);
  } catch (err) {
    core.log.warn("unfinished uploads could not be swept", { err: String(err) });
  }
}

async function sweepUploads({ depot, clock, signal }: Core): Promise<void> {
  await depot.sweepUploads(UPLOADS_KEPT_MS, clock.now(), signal);
}

/**
 * A hub is empty until its first operator comes; what it takes then pins it for good, and its bucket with it.
 * @throws SkeinError WRONG_CLUSTER, CHARTER_PIN, DOC_*, DEPOT_*
 */
export async function beginCluster(
  { core, charters }: Pick<UpkeepParts, "core" | "charters">,
  first: Envelope,
): Promise<void> {
  const claim = async ({ cluster }: Charter): Promise<void> =>
    await whereReached(core, async () => await claimBucket(core, cluster));
  await core.lanes.run("charters", async () => await charters.begin([first], claim));
}

/** One run at a time in this process; others may be under way elsewhere. @throws SkeinError HUB_CATCHING_UP */
export async function collectDepot(
  parts: UpkeepParts,
  dryRun: boolean,
  signal: AbortSignal,
): Promise<Tidied> {
  const { core, catchUp, charters } = parts;
  if (catchUp.on) {
    // What it does not know yet it would take for unneeded.
    throw new SkeinError("HUB_CATCHING_UP", "the hub does not know all releases yet");
  }
  // Loaded here: an idle hub stays small.
  const { tidy } = await import("../../release/upkeep/tidy.ts");
  const { depot, clock, lanes } = core;
  const roots = () => keptReleases(parts);
  return await lanes.run("depot upkeep", async () => {
    if (!dryRun) await claimDepot(depot, charters.need().charter.cluster, signal);
    return await tidy({ depot, roots, dryRun, clock, signal });
  });
}

/** As `collectDepot`; what fails is met again the next time. */
export async function collectQuietly(parts: UpkeepParts): Promise<void> {
  const { core, catchUp } = parts;
  if (catchUp.on) return;
  try {
    const { deleted, retired, repacked, unreadable } = await collectDepot(parts, false, core.signal);
    if (deleted.blobs + retired.blobs + repacked.replaced > 0)
      core.log.info("depot collected", { deleted, retired, repacked });
    if (unreadable.length > 0)
      core.log.warn("kept releases without an index: no pack is removed", { unreadable });
  } catch (err) {
    if (!core.signal.aborted) core.log.warn("the depot could not be collected", { err: String(err) });
  }
}
