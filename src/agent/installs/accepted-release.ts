import type { ReleaseId } from "../../lib/text/ids.ts";
import { underChain } from "../../trust/charter/chain.ts";
import type { Release } from "../../trust/document/documents.ts";
import { readUnverified, type Envelope } from "../../trust/document/envelope.ts";
import type { NodeState } from "../../trust/node/node-state.ts";
import { releaseOf } from "../../trust/orders/orders.ts";

export interface WantedRelease {
  readonly app: string;
  readonly id: ReleaseId;
}

/**
 * The document of a release that this node has taken in, by the charter in force or by an earlier one of its chain: what
 * was accepted stays, and comes back after a restart, when a charter drops who signed it.
 * @throws SkeinError ORDER_UNKNOWN_RELEASE
 */
export function acceptedRelease(
  { charter, charters }: Pick<NodeState, "charter" | "charters">,
  wanted: WantedRelease,
  kept: Envelope | undefined,
  now: number,
): Release {
  const offered = kept === undefined ? [] : [kept];
  // Checked when they were taken.
  const earlier = charters
    .slice(0, -1)
    .toReversed()
    .map((one) => readUnverified(one, "charter.1"));
  return underChain([charter, ...earlier], (one) => releaseOf(one, wanted, offered, now).body).opened;
}
