import type { KeyId } from "../lib/text/ids.ts";
import { factsOf, type Facts } from "./facts.ts";
import { membersOf, type Plan } from "./plan.ts";
import type { Rollout } from "./rollout.ts";

/**
 * Each node of a rollout that goes forward is in one of these, in the plan's order. Nobody waits for a node that was
 * removed, or lost the label by which the order named it: it is counted for what it did, and else not at all.
 */
export interface Tally {
  readonly ok: readonly KeyId[];
  /** Said so, or given up; or done, and not doing well since. */
  readonly failed: readonly KeyId[];
  /** Told to start, there, and not done. */
  readonly inFlight: readonly KeyId[];
  /** There, and not told to start. */
  readonly waiting: readonly KeyId[];
  /** Away before they were done. */
  readonly absent: readonly KeyId[];
  /** Did it, and are away since. */
  readonly gone: readonly KeyId[];
}

type Group = keyof Tally;

export function tallyOf(plan: Plan, rollout: Rollout, facts: Facts): Tally {
  const tally = { ok: [], failed: [], inFlight: [], waiting: [], absent: [], gone: [] } as Record<
    Group,
    KeyId[]
  >;
  for (const node of membersOf(plan)) {
    for (const group of groupsOf(rollout, facts, node)) tally[group].push(node);
  }
  return tally;
}

/** Mostly one group; a node that did it and is away since is in two. */
function groupsOf(rollout: Rollout, facts: Facts, node: KeyId): readonly Group[] {
  const { present, meant, receipt, unwell } = factsOf(facts, node);
  if (receipt?.verdict === "ok") {
    if (unwell !== null) return ["failed"];
    return meant && !present ? ["ok", "gone"] : ["ok"];
  }
  if (receipt !== null || rollout.lost.has(node)) return ["failed"];
  if (!meant) return [];
  if (!present) return ["absent"];
  return rollout.go.has(node) ? ["inFlight"] : ["waiting"];
}

/** How one node stands in a rollout that goes back. */
export type WayBack = "back" | "broken" | "returning" | "standing";

/** Whoever's own checks failed went back by itself; whoever has no part in it any more is told, and not waited for. */
export function wayBackOf(rollout: Rollout, facts: Facts, node: KeyId): WayBack {
  const { receipt, meant } = factsOf(facts, node);
  if (receipt !== null && receipt.verdict !== "ok")
    return receipt.code === "UNDO_INCOMPLETE" ? "broken" : "back";
  if (!meant) return "back";
  return rollout.back.has(node) ? "returning" : "standing";
}
