import type { PrunableDepot } from "../../depot/seam/depot.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { bytesBlob } from "../fetch/blobs.ts";

/** `owners/CLUSTER`, empty: whose releases a collection of this depot keeps. Nothing else is needed by anybody. */
const OWNERS = "owners/";

/**
 * Takes a depot for a cluster: a second one in it would lose its releases to the first one's collections.
 * @throws SkeinError WRONG_CLUSTER when it is another's
 */
export async function claimDepot(depot: PrunableDepot, cluster: string, signal: AbortSignal): Promise<void> {
  const own = `${OWNERS}${cluster}`;
  const owners = await ownersOf(depot, signal);
  if (owners.length === 0) {
    await depot.put(own, bytesBlob(Buffer.alloc(0)), signal);
    // Whoever took it at the same moment sees the other, too: then neither has it.
    owners.push(...(await ownersOf(depot, signal)));
  }
  const other = owners.find((name) => name !== own);
  if (other !== undefined) throw isAnothers(depot, other);
}

/** For a cluster that is yet to be made. @throws SkeinError WRONG_CLUSTER when somebody has the depot */
export async function refuseClaimed(depot: PrunableDepot, signal: AbortSignal): Promise<void> {
  const [owner] = await ownersOf(depot, signal);
  if (owner !== undefined) throw isAnothers(depot, owner);
}

const ownersOf = async (depot: PrunableDepot, signal: AbortSignal): Promise<string[]> =>
  await Array.fromAsync(depot.list(OWNERS, signal));

function isAnothers(depot: PrunableDepot, owner: string): SkeinError {
  const cluster = owner.slice(OWNERS.length);
  return new SkeinError("WRONG_CLUSTER", `${depot.name} keeps the releases of cluster ${cluster}`, {
    hint: `Give each cluster a prefix of its own; where that one is no more, delete ${owner} there.`,
    data: { depot: depot.name, cluster },
  });
}
