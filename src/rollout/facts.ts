import type { KeyId } from "../lib/text/ids.ts";
import type { Verdict } from "../trust/document/documents.ts";

/** What a rollout knows of one node. A node that it knows nothing of is away. */
export interface NodeFacts {
  readonly name: string;
  /** It reports, its clock is right, and nobody else uses its key. */
  readonly present: boolean;
  /** It belongs to the cluster, and the order's selector names it by the labels that it has now. */
  readonly meant: boolean;
  /** Instances of the app answer there, of whatever release: a change there can take something away. */
  readonly serving: boolean;
  /** Its newest receipt for the order. */
  readonly receipt: {
    readonly verdict: Verdict;
    readonly code: string | null;
    readonly message: string | null;
  } | null;
  /** Since that receipt the release has crashed there, or failed its live checks: the last time; null: it has not. */
  readonly unwell: string | null;
}

/** All that decides about the next step, beside the rollout itself. Times are ms since the epoch. */
export interface Facts {
  readonly now: number;
  /** Since when somebody looks: nobody is called away, and nothing stuck, because the hub itself was. */
  readonly since: number;
  /** When a node last said how far it is; 0 when none did. */
  readonly heardAt: number;
  /** Those that the order was made for, and those that its selector names by now. */
  readonly nodes: ReadonlyMap<KeyId, NodeFacts>;
  /** Null while no settle was handed in. */
  readonly settle: {
    readonly needs: number;
    /** Receipts that count for it. */
    readonly have: number;
    /** Whose receipt would count, and is dated too late: its clock is ahead by an hour or more. */
    readonly late: readonly KeyId[];
    readonly published: boolean;
  } | null;
  readonly applyBefore: number;
  readonly undoBefore: number;
}

const AWAY: NodeFacts = {
  name: "",
  present: false,
  meant: true,
  serving: false,
  receipt: null,
  unwell: null,
};

export function factsOf(facts: Facts, node: KeyId): NodeFacts {
  return facts.nodes.get(node) ?? AWAY;
}

/** A restarted hub hears from all of its nodes within this time. */
export const GRACE_MS = 10_000;
/**
 * A hub that was started, stopped, or whose clock was set ahead, knows within this time that its clock is wrong: each
 * node's report tells, and those that are far off it count as away. Longer keeps an order that is over for longer.
 */
export const CONTRADICTED_MS = 30_000;
/**
 * So long without news from nodes that are away while everything is taken back, and they are left to come by
 * themselves: until then a person who wants to deploy again has to wait.
 */
export const UNREACHED_MS = 30_000;
/** So long without a receipt, a gate or a word of progress, and what is waited for is given up. */
export const STALL_MS = 10 * 60_000;
