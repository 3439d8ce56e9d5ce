import type { Digest, ReleaseId } from "../../lib/text/ids.ts";
import type { Order } from "../document/documents.ts";
import { msOf } from "../document/fields.ts";
import {
  appStateOf,
  effectiveNow,
  orderOf,
  type AppState,
  type Context,
  type HeldOrder,
  type NodeState,
} from "./node-state.ts";
import { compareSerials } from "../orders/orders.ts";

/** What a node should run of an app. A level: it follows from the state alone, however the state came about. */
export type WantedState =
  /** Nothing was ever ordered. */
  | { readonly kind: "none" }
  /** The disk is older than the node's own last receipt: leave everything as it is until its order is back. */
  | { readonly kind: "wait"; readonly for: Digest }
  | WantedOrder;

export interface WantedOrder {
  readonly kind: "order";
  readonly held: HeldOrder;
  readonly order: Order;
  readonly digest: Digest;
  /** Null when it went back and there is nothing to go back to. */
  readonly release: ReleaseId | null;
  readonly state: "run" | "stopped";
  /** `undone`: the release is the order's fallback. */
  readonly why: "head" | "standing" | "prior" | "undone";
  /** Started in time and never settled: it stays, and people are told. */
  readonly unsettled: boolean;
}

/**
 * What it went back to, if it undid the head; else the head if settled, before `applyBefore`,
 * or already started here; else standing, or what it had started before the head came, if that is newer.
 */
export function wanted(state: NodeState, app: string, env: string, context: Context): WantedState {
  const held = appStateOf(state, app, env);
  const { head, floor } = held;
  if (floor !== null && (head === null || compareSerials(head, floor) < 0)) {
    return { kind: "wait", for: floor.order };
  }
  if (head === null) return { kind: "none" };
  const now = effectiveNow(state, context);
  if (head.progress === "undone" || counts(head, now)) return describe(head, "head", now);
  return wantedBelow(held, now);
}

/** Does the head count, or is it as if it had never come? */
function counts(head: HeldOrder, now: number): boolean {
  if (head.settle !== null || head.progress === "started" || head.progress === "done") return true;
  return head.progress === "waiting" && now < msOf(orderOf(head).applyBefore);
}

function wantedBelow({ standing, prior, floor }: AppState, now: number): WantedState {
  const isPrior = prior !== null && (standing === null || compareSerials(prior, standing) >= 0);
  const held = isPrior ? prior : standing;
  // The disk forgot what the node had started last; what it remembers is older, and not started again.
  if (floor !== null && (held === null || compareSerials(held, floor) < 0))
    return { kind: "wait", for: floor.order };
  return held === null ? { kind: "none" } : describe(held, isPrior ? "prior" : "standing", now);
}

function describe(held: HeldOrder, place: "head" | "standing" | "prior", now: number): WantedOrder {
  const order = orderOf(held);
  const undone = held.progress === "undone";
  return {
    kind: "order",
    held,
    order,
    digest: held.digest,
    release: undone ? order.fallback : order.release,
    state: undone ? (order.fallback === null ? "stopped" : "run") : order.state,
    why: undone ? "undone" : place,
    unsettled: !undone && held.settle === null && now >= msOf(order.applyBefore),
  };
}
