/** Keeps the hub's depot small: by itself at long intervals, and when an operator asks for it. */
import { SkeinError } from "../../lib/errors.ts";
import { claimDepot } from "../../release/upkeep/owner.ts";
import type { Tidied } from "../../release/upkeep/tidy.ts";
import type { CatchUp } from "../cluster/catch-up.ts";
import type { Charters } from "../cluster/charters.ts";
import type { Core } from "../records/core.ts";
import { keptReleases, type KeptParts } from "./kept-releases.ts";

export interface UpkeepParts extends KeptParts {
  readonly core: Core;
  readonly charters: Charters;
  readonly catchUp: CatchUp;
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
