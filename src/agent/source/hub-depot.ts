import type { DepotReader } from "../../depot/seam/depot.ts";
import { httpDepot, type BlobTransport } from "../../depot/http/http-depot.ts";
import type { Pace } from "../../depot/seam/pace.ts";

/** A hub held to a limit may give this node nothing for a while, since it gives to others. */
const HUB_PACE: Pace = { windowMs: 60_000, leastBytes: 20 * 1024 };

/**
 * A hub's blobs, for a node to read. One that was cut is gone on with once where it stopped; whoever reads has a cache,
 * peers and tries of its own for the rest.
 */
export function hubDepot(transport: BlobTransport, pace = HUB_PACE): DepotReader {
  return httpDepot(transport, { tries: 2, pace });
}
