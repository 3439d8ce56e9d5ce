import type { ErrorCode } from "../lib/errors/errors.ts";
import type { KeyId } from "../lib/text/ids.ts";

/** Why a rollout does not go forward. */
export interface Cause {
  readonly code: ErrorCode;
  readonly message: string;
}

/**
 * What was decided so far, and nothing that can be seen elsewhere. The sets only grow, `direction` turns once, and
 * `ended` is final: whoever carries on from any written state comes to the same end.
 */
export interface Rollout {
  readonly direction: "forward" | "back";
  /** By a person, or at a failure where the strategy says so: no further node starts. */
  readonly paused: boolean;
  /** It needs a person, or nodes that are away; it goes on by itself when they come. */
  readonly stuck: boolean;
  readonly ended: "ok" | "undone" | "failed" | null;
  readonly cause: Cause | null;
  /** Since when every node of the plan is done; null before. */
  readonly bakingSince: number | null;
  /** When this was last changed. */
  readonly movedAt: number;
  /** More nodes are away than may be, since some of this began. */
  readonly away: boolean;
  /** Failures that a person has seen and resumed after. */
  readonly forgiven: number;
  /** The last word of a person that changed something, by the id that it came with: it may come again. */
  readonly said: string | null;
  /** Nodes that may start the order, or did (out of sight of the hub). */
  readonly go: ReadonlySet<KeyId>;
  /** Nodes that were told to go back. */
  readonly back: ReadonlySet<KeyId>;
  /** Nodes that were given up: told to start, there, and silent. */
  readonly lost: ReadonlySet<KeyId>;
}

export function newRollout(now: number): Rollout {
  return {
    direction: "forward",
    paused: false,
    stuck: false,
    ended: null,
    cause: null,
    bakingSince: null,
    movedAt: now,
    away: false,
    forgiven: 0,
    said: null,
    go: new Set(),
    back: new Set(),
    lost: new Set(),
  };
}

export type Phase =
  | "pending"
  | "running"
  | "paused"
  | "baking"
  | "ok"
  | "failed"
  | "undoing"
  | "undone"
  | "stuck";

export function phaseOf(rollout: Rollout): Phase {
  if (rollout.ended !== null) return rollout.ended;
  if (rollout.stuck) return "stuck";
  if (rollout.direction === "back") return "undoing";
  if (rollout.paused) return "paused";
  if (rollout.bakingSince !== null) return "baking";
  return rollout.go.size > 0 ? "running" : "pending";
}

/** Does the app take no other order yet? A rollout that is stuck may be overtaken. */
export function isUnderWay(rollout: Rollout): boolean {
  return rollout.ended === null && !rollout.stuck;
}

export interface RolloutVerdict {
  readonly ok: boolean;
  readonly code: ErrorCode | null;
  readonly message: string | null;
}

/** Null while it goes on. Undone is DEPLOY_FAILED; where not all could be taken back, UNDO_INCOMPLETE. */
export function verdictOf(rollout: Rollout): RolloutVerdict | null {
  if (isUnderWay(rollout)) return null;
  if (rollout.ended === "ok") return { ok: true, code: null, message: null };
  const message = rollout.cause?.message ?? null;
  if (rollout.ended === "undone") return { ok: false, code: "DEPLOY_FAILED", message };
  return { ok: false, code: rollout.cause?.code ?? "INTERNAL", message };
}

/** What one node may do about the order. */
export type Gate = "hold" | "go" | "undo";

/**
 * In a rollout that goes back, nodes that never started are told so as well: else they would start by themselves
 * when they lose sight of the hub. Once the order stands, a node where nothing serves need not wait for others.
 */
export function gateOf(rollout: Rollout, node: KeyId, serving: boolean): Gate {
  if (rollout.direction === "back") return rollout.go.has(node) && !rollout.back.has(node) ? "go" : "undo";
  if (rollout.go.has(node)) return "go";
  return rollout.ended === "ok" && !serving ? "go" : "hold";
}
