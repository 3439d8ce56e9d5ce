import { SkeinError } from "../lib/errors/errors.ts";
import type { Strategy } from "../trust/document/documents.ts";

/** A strategy, made numbers for so many nodes. */
export interface Limits {
  /** Nodes that are judged together before the next ones may start. */
  readonly batch: number;
  /** Serving nodes that may be in the middle of a change at once. */
  readonly maxUnavailable: number;
  /** Nodes that may be away without holding up the others. */
  readonly maxAbsent: number;
  /** Nodes that may fail without ending the rollout. */
  readonly maxFailed: number;
  readonly bakeMs: number;
  readonly onFailure: "undo" | "pause";
}

type Amount = number | string;

/**
 * Shares are of `total` nodes. What allows more change at once is rounded down (a batch and what may be
 * unavailable are at least one node), what is away is rounded up: one machine of three may be off.
 * @throws SkeinError MANIFEST_LATER for canary and blue_green
 */
export function limitsOf(strategy: Strategy, total: number, state: "run" | "stopped" = "run"): Limits {
  const { type, bakeMs, onFailure } = strategy;
  if (type !== "rolling" && type !== "all_at_once") {
    throw new SkeinError("MANIFEST_LATER", `strategy.type: ${type} is not done by this version.`, {
      data: { type },
    });
  }
  const whole = Math.max(1, total);
  const all = type === "all_at_once";
  return {
    batch: all ? whole : Math.max(1, Math.floor(amountOf(strategy.batch, total))),
    maxUnavailable: all ? whole : Math.max(1, Math.floor(amountOf(strategy.maxUnavailable, total))),
    maxAbsent: Math.ceil(amountOf(strategy.maxAbsent, total)),
    maxFailed: Math.floor(amountOf(strategy.maxFailed, total)),
    bakeMs: state === "stopped" ? 0 : bakeMs, // there is nothing to watch
    onFailure,
  };
}

function amountOf(amount: Amount, total: number): number {
  if (typeof amount === "number") return amount;
  // In thousandths of a percent, so that 10% of 10 is 1 and not a hair less.
  const thousandths = Math.round(Number.parseFloat(amount) * 1000);
  return (thousandths * total) / 100_000;
}
