import { oldServes, type Attempt } from "../plan/plan.ts";
import type { ReceiptInput } from "./receipt-of.ts";
import type { Warning } from "../runtime/warning.ts";

/** What a receipt says of an order's end. */
export type Ended = Pick<ReceiptInput, "verdict" | "code" | "message" | "hint" | "cut">;

export const TAKEN_BACK: Ended = { verdict: "undone", code: "UNDONE_BY_HUB", message: null, cut: 0 };
export const AS_IT_IS: Ended = { verdict: "ok", code: null, message: null, cut: 0 };

/** How an attempt ended: well, taken back, or neither the new nor the old version as it should be. */
export function endOf(attempt: Attempt, warnings: readonly Warning[]): Ended {
  const { back, cut, stuck, mode } = attempt;
  if (stuck !== null || (back !== null && mode === "return")) return incomplete(attempt);
  if (back !== null) {
    const verdict = back.why === "failed" ? "failed" : "undone";
    const left = oldServes(attempt) ? "the old version serves" : "nothing runs";
    return { verdict, code: back.code, message: `${back.message} (${left})`, hint: back.hint, cut };
  }
  if (mode === "return") return { ...TAKEN_BACK, cut };
  const [warning] = warnings;
  return warning === undefined
    ? { ...AS_IT_IS, cut }
    : { verdict: "ok", code: warning.code, message: warning.message, cut };
}

function incomplete({ back, stuck, cut }: Attempt): Ended {
  const parts = [back?.message, stuck].filter((part) => part !== null && part !== undefined);
  const message = parts.join("; and the old version: ");
  return { verdict: "failed", code: "UNDO_INCOMPLETE", message, hint: back?.hint, cut };
}
