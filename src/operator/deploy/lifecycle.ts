import { SkeinError } from "../../lib/errors.ts";
import { appAsTyped, shortRelease, type ReleaseId } from "../../lib/ids.ts";
import { afterRestore } from "../order/after-restore.ts";
import type { Order } from "../../trust/documents.ts";
import { ask } from "../ask/ask.ts";
import { refuseAloneBeside } from "../order/beside.ts";
import { deedOf } from "../ask/commands.ts";
import { toBeDone } from "../tell/dry-run.ts";
import type { Tell } from "../tell/events.ts";
import {
  APPLY_WITHIN_MS,
  headOf,
  orderFor,
  readLine,
  selectorOf,
  type Draft,
  type HeldOrder,
  type Intent,
} from "../order/order.ts";
import { membersAndFormer, selectNodes, tellFormer } from "../nodes/nodes.ts";
import type { Operator } from "../identity/operator.ts";
import { publishOrder, type PublishedOrder } from "../order/publish-order.ts";
import { findRelease, noRelease } from "../release/release.ts";
import { deliverEarlier } from "../order/sent.ts";

export interface LifecycleOptions {
  readonly app: string;
  readonly env: string;
  /** `app@release`'s second half; null: the current one. */
  readonly release: string | null;
  /** null: those of the last order that was not for some of them alone. */
  readonly selector: string | null;
  readonly attended: boolean;
  readonly tell: Tell;
  readonly signal: AbortSignal;
  /** As `publishOrder` has it. */
  readonly first?: (draft: Draft) => Promise<void>;
}

type Change = Partial<Pick<Intent, "release" | "state" | "generation" | "beside">>;
type Changer = (base: HeldOrder, named: ReleaseId | null, newest: HeldOrder) => Change | Promise<Change>;

/**
 * What is in force once more on the nodes that are meant, but for `change`. What was taken back is not what anybody
 * means by the app, nor is what only others were told.
 */
async function reorder(
  operator: Operator,
  options: LifecycleOptions,
  change: Changer,
): Promise<PublishedOrder> {
  return await afterRestore(options.tell, async () => await orderChanged(operator, options, change));
}

async function orderChanged(
  operator: Operator,
  options: LifecycleOptions,
  change: Changer,
): Promise<PublishedOrder> {
  const { app, env, tell, signal } = options;
  await deliverEarlier(operator, app, options);
  const line = await readLine(operator, app, env, signal);
  const newest = headOf(line);
  const { members: known, former } = await membersAndFormer(operator, signal);
  if (options.selector === null) tellFormer(former, tell);
  const { selector } = selectNodes(known, options.selector ?? selectorOf(line) ?? newest.order.selector);
  const base = orderFor(line, selector) ?? newest;
  const named = await releaseOf(operator, options);
  const { order } = base;
  const intent: Intent = {
    release: order.release,
    state: order.state,
    generation: order.generation,
    beside: order.beside,
    selector,
    // How to go about it was said last by the newest order, whatever became of that.
    strategy: newest.order.strategy,
    hooks: newest.order.hooks,
    applyWithinMs: APPLY_WITHIN_MS,
    attended: options.attended,
    ...(await change(base, named, newest)),
  };
  return await publishOrder(operator, line, intent, {
    tell,
    implied: false,
    signal,
    known,
    ...(options.first === undefined ? {} : { first: options.first }),
    // What one node is given another release by goes on to be about that node: the others do not run it.
    part: options.selector !== null && intent.release === line.whole?.order.release,
  });
}

/** @throws SkeinError RELEASE_NOT_FOUND */
export async function releaseOf(
  operator: Operator,
  { app, release, signal }: LifecycleOptions,
): Promise<ReleaseId | null> {
  if (release === null) return null;
  const found = await findRelease(operator, app, release, signal);
  if (found === undefined) throw noRelease(app, release);
  return found.id;
}

/** A hand-over to new instances of the same release: nothing is lost. */
export async function restart(operator: Operator, options: LifecycleOptions): Promise<PublishedOrder> {
  return await reorder(operator, options, ({ order }, named, newest) => {
    if (named !== null && named !== order.release) throw notCurrent(options, named, order.release);
    return { state: "run", generation: Math.max(order.generation, newest.order.generation) + 1 };
  });
}

/** Runs what was stopped; with a release, that one. @throws SkeinError HANDOVER_REFUSED */
export async function start(operator: Operator, options: LifecycleOptions): Promise<PublishedOrder> {
  return await reorder(operator, options, async ({ order }, named) => {
    if (named === null || named === order.release) return { state: "run" };
    const others = [order.release, ...order.beside].filter((id) => id !== named);
    const beside = order.state === "run" ? others : order.beside;
    await refuseAloneBeside(operator, { ...options, release: named, beside }, options.signal);
    return { state: "run", release: named, beside };
  });
}

/**
 * Stops a version: the current one, one of those beside it, or (`all`) every one. Where older ones run beside the
 * current one, the newest of them becomes the current one.
 */
export async function stop(
  operator: Operator,
  options: LifecycleOptions & {
    /** Every version, and not the current one alone. */
    readonly all: boolean;
    /** Ends all instances first, within a second. */
    readonly now: boolean;
  },
): Promise<PublishedOrder> {
  const first = async (draft: Draft): Promise<void> => await endNow(operator, draft, options.signal);
  return await reorder(operator, { ...options, ...(options.now ? { first } : {}) }, ({ order }, named) =>
    options.all ? ALL_STOPPED : withoutVersion(order, named),
  );
}

/** Every version of an app is to end. */
export const ALL_STOPPED = { state: "stopped", beside: [] } as const;

/** What an order comes to where one of its versions (null: the current one) ends. @throws SkeinError NOT_FOUND */
export function withoutVersion(order: Order, named: ReleaseId | null): Change {
  if (named !== null && named !== order.release) {
    if (!order.beside.includes(named)) throw notRunning(order, named);
    return { beside: order.beside.filter((id) => id !== named) };
  }
  const [next, ...others] = order.beside;
  return next === undefined ? { state: "stopped" } : { release: next, beside: others };
}

const END_NOW_VALID_MS = 60_000;

/** Ends an app's instances on the nodes of an order at once; the order that follows keeps them down. */
async function endNow(operator: Operator, { order, present }: Draft, signal: AbortSignal): Promise<void> {
  const { app, env, state } = order;
  if (state !== "stopped") {
    throw new SkeinError("USAGE", `--now ends every version of ${app}, and another one is to go on`, {
      hint: `skein stop ${appAsTyped(app, env)} --all --now, or leave --now out.`,
    });
  }
  const nodes = present;
  const wish = { kind: "stop-now", app, env, args: {}, nodes, validMs: END_NOW_VALID_MS };
  if (nodes.length === 0 || !toBeDone(operator, () => deedOf(wish))) return;
  await ask(operator, wish, signal);
}

type Place = Pick<LifecycleOptions, "app" | "env">;

function notCurrent({ app, env }: Place, named: ReleaseId, current: ReleaseId): SkeinError {
  return new SkeinError(
    "USAGE",
    `${shortRelease(app, named)} is not what runs: that is ${shortRelease(app, current)}`,
    {
      hint: `Deploy it instead: skein deploy ${appAsTyped(app, env)} ${named.slice(0, 8)}`,
      data: { app, release: named, current },
    },
  );
}

function notRunning({ app, env }: Place, named: ReleaseId): SkeinError {
  return new SkeinError("NOT_FOUND", `${shortRelease(app, named)} does not run`, {
    hint: `See what runs: skein check ${appAsTyped(app, env)}`,
    data: { app, release: named },
  });
}
