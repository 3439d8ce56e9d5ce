import { inProgress } from "../../api/in-progress.ts";
import { LEFT, type RolloutView } from "../../api/schemas.ts";
import { isSkeinError, SkeinError, type ErrorCode } from "../../lib/errors/errors.ts";
import { type Digest, type ReleaseId, shortRelease } from "../../lib/text/ids.ts";
import { formatDuration } from "../../lib/text/units.ts";
import { isSkewed } from "../../trust/charter/charter.ts";
import { announce } from "../tell/dry-run.ts";
import type { Tell } from "../tell/events.ts";
import { endingOf, failureOf, follow, outlasting } from "./follow.ts";
import { orderDeed } from "./order-deed.ts";
import { DROPPED, draftOrder, signOrder, signSettle, type Draft, type Intent, type Line } from "./order.ts";
import type { KnownNode } from "../nodes/nodes.ts";
import type { Operator } from "../identity/operator.ts";
import { remindOfSettle, send } from "./sent.ts";

export interface PublishedOrder {
  readonly order: Digest;
  readonly draft: Draft;
  readonly attended: boolean;
}

/**
 * Signs the next order of a line, keeps it, sends it. Tells the selection before and the order's id after.
 * @throws DryRunEnd in a dry run; before that DEPLOY_IN_PROGRESS, which else the hub says
 */
export async function publishOrder(
  operator: Operator,
  line: Line,
  intent: Intent,
  options: {
    readonly tell: Tell;
    readonly implied: boolean;
    readonly signal: AbortSignal;
    /** The nodes as they were a moment ago. */
    readonly known: readonly KnownNode[];
    /** It is a rollback. */
    readonly goesBack?: true;
    /** It is for some of the app's nodes alone: what comes next and names none is not. */
    readonly part?: boolean;
    /** Settles before the order is sent: it may be signed and written down meanwhile. */
    readonly after?: Promise<void>;
    /** Done when everything about the order is decided, and before it is signed. */
    readonly first?: (draft: Draft) => Promise<void>;
  },
): Promise<PublishedOrder> {
  const { tell, implied, signal } = options;
  const draft = draftOrder(operator, line, intent, options.known);
  const { order, nodes, roster } = draft;
  tellSelection(tell, draft, implied);
  if (line.head?.droppedSigner !== undefined)
    tell({
      type: "note",
      text: `The order before was signed by ${line.head.droppedSigner}, ${DROPPED}: this one follows it.`,
    });
  if (operator.dryRun !== undefined) await refuseHeld(operator, line, signal);
  await options.first?.(draft);
  announce(operator, () => orderDeed(draft, line));
  const signed = await signOrder(operator, draft, intent.attended);
  const digest = await send(
    operator,
    {
      app: order.app,
      env: order.env,
      order: signed.order,
      roster,
      settle: signed.settle,
      goesBack: options.goesBack === true,
      part: options.part === true,
    },
    signal,
    options.after,
  );
  tell({
    type: "order",
    order: digest,
    app: order.app,
    env: order.env,
    release: order.release,
    state: order.state,
    seq: order.seq,
    nodes: nodes.length,
  });
  return { order: digest, draft, attended: intent.attended };
}

/** What the hub says to an order while another one is under way. @throws SkeinError DEPLOY_IN_PROGRESS */
export async function refuseHeld(
  { client }: Operator,
  { app, env, head }: Line,
  signal: AbortSignal,
): Promise<void> {
  if (head === null) return;
  const view = await client.rollout(head.digest, signal).catch((err: unknown) => {
    if (isSkeinError(err, "NOT_FOUND")) return undefined; // too long ago
    throw err;
  });
  if (view?.verdict === null) throw inProgress({ app, env }, head.digest, view);
}

function tellSelection(tell: Tell, { order, nodes, present }: Draft, implied: boolean): void {
  const here = new Set(present);
  tell({
    type: "selection",
    app: order.app,
    env: order.env,
    selector: order.selector,
    nodes: nodes.map(({ identity }) => identity.name),
    absent: nodes.filter((node) => !here.has(node)).map(({ identity }) => identity.name),
    implied,
  });
  const skewed = nodes.filter(({ skewMs }) => isSkewed(skewMs));
  if (skewed.length > 0) tell({ type: "warning", code: "CLOCK_SKEW", text: skewText(skewed) });
  if (present.length > 0) return;
  tell({
    type: "warning",
    text: "No node of the selection is present: the order stands unproven, and they converge when they come.",
  });
}

function skewText(skewed: readonly KnownNode[]): string {
  const each = skewed.map(({ identity, skewMs }) => {
    const seconds = Math.round(Math.abs(skewMs ?? 0) / 1000);
    return `${identity.name} (${formatDuration(seconds * 1000)})`;
  });
  return `Away, for a clock that was too far off the hub's when they were heard last: ${each.join(", ")}.`;
}

export interface Followed {
  readonly order: Digest;
  readonly app: string;
  readonly env: string;
  readonly release: ReleaseId;
  readonly state: "run" | "stopped";
  /** Those that the order was made for. */
  readonly nodes: number;
  /** Of them, by name, those that were away: they take it when they come. */
  readonly away: readonly string[];
  /** Of them those that were removed, or lost the label by which the order named them, before they took it. */
  readonly left: readonly string[];
  /** Of them those on which it failed, as many as the strategy lets. */
  readonly failed: readonly string[];
  /** Of them those on which a hook failed that does not hold a node back. */
  readonly hooks: readonly string[];
  /** Connections that were cut while old versions drained. */
  readonly cut: number;
}

const HOOK_CODES: ReadonlySet<string | null> = new Set<ErrorCode>(["HOOK_FAILED", "HOOK_TIMEOUT"]);

/**
 * Follows an order to its end, and settles it then if it is attended.
 * @throws SkeinError DEPLOY_FAILED, UNDO_INCOMPLETE, NODES_ABSENT
 */
export async function followOrder(
  operator: Operator,
  published: PublishedOrder,
  options: { readonly tell: Tell; readonly signal: AbortSignal },
): Promise<Followed> {
  const { order } = published.draft;
  const fallback = order.fallback === null ? null : shortRelease(order.app, order.fallback);
  const { app, env } = order;
  const missed = async (): Promise<void> =>
    await remindOfSettle(operator, { app, env, digest: published.order }, options.signal);
  const last = await followDigest(operator, published.order, { ...options, missed });
  const failure = failureOf(last, fallback);
  if (failure !== undefined) throw failure;
  if (published.attended) {
    const settle = await signSettle(operator, published.draft, published.order);
    await outlasting(
      operator,
      options.signal,
      async () => await operator.client.postSettle(settle, options.signal),
    );
  }
  const silent = last.nodes.filter(({ verdict }) => verdict === null);
  return {
    order: published.order,
    app: order.app,
    env: order.env,
    release: order.release,
    state: order.state,
    nodes: published.draft.nodes.length,
    away: silent.filter(({ state }) => state !== LEFT).map(({ name }) => name),
    left: silent.filter(({ state }) => state === LEFT).map(({ name }) => name),
    failed: last.nodes.filter(({ verdict }) => verdict !== null && verdict !== "ok").map(({ name }) => name),
    hooks: last.nodes
      .filter(({ verdict, code }) => verdict === "ok" && HOOK_CODES.has(code))
      .map(({ name }) => name),
    cut: last.nodes.reduce((sum, { cut }) => sum + cut, 0),
  };
}

/** The last view of a rollout. */
export async function followDigest(
  operator: Operator,
  order: Digest,
  options: {
    readonly tell: Tell;
    readonly signal: AbortSignal;
    /** See follow. */
    readonly missed?: () => Promise<void>;
  },
): Promise<RolloutView> {
  const { tell, signal, missed } = options;
  let last: RolloutView | undefined;
  for await (const view of follow(operator, order, signal, missed)) {
    last = view;
    tell({ type: "rollout", view });
  }
  signal.throwIfAborted();
  if (last !== undefined && endingOf(last) !== undefined) return last;
  throw new SkeinError("NOT_FOUND", `the hub knows no rollout of ${order.slice(0, 12)}`);
}
