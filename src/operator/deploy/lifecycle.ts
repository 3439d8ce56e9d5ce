import { SkeinError } from "../../lib/errors/errors.ts";
import { appAsTyped, shortRelease, type ReleaseId, type AppEnv } from "../../lib/text/ids.ts";
import type { Order } from "../../trust/document/documents.ts";
import { ask } from "../ask/ask.ts";
import { deedOf } from "../ask/commands.ts";
import type { Operator } from "../identity/operator.ts";
import { refuseAloneBeside } from "../order/beside.ts";
import type { Draft } from "../order/order.ts";
import type { PublishedOrder } from "../order/publish-order.ts";
import { toBeDone } from "../tell/dry-run.ts";
import { reorder, type Change, type ReorderOptions } from "./reorder.ts";

/** A hand-over to new instances of the same release: nothing is lost. */
export async function restart(operator: Operator, options: ReorderOptions): Promise<PublishedOrder> {
  return await reorder(operator, options, ({ base: { order }, named, newest }) => {
    if (named !== null && named !== order.release) throw notCurrent(options, named, order.release);
    return { state: "run", generation: Math.max(order.generation, newest.order.generation) + 1 };
  });
}

/** Runs what was stopped; with a release, that one. @throws SkeinError HANDOVER_REFUSED */
export async function start(operator: Operator, options: ReorderOptions): Promise<PublishedOrder> {
  return await reorder(operator, options, async ({ base: { order }, named }) => {
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
  options: ReorderOptions & {
    /** Every version, and not the current one alone. */
    readonly all: boolean;
    /** Ends all instances first, within a second. */
    readonly now: boolean;
  },
): Promise<PublishedOrder> {
  const first = async (draft: Draft): Promise<void> => await endNow(operator, draft, options.signal);
  return await reorder(
    operator,
    options,
    ({ base: { order }, named }) => (options.all ? ALL_STOPPED : withoutVersion(order, named)),
    options.now ? { first } : {},
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

function notCurrent({ app, env }: AppEnv, named: ReleaseId, current: ReleaseId): SkeinError {
  return new SkeinError(
    "USAGE",
    `${shortRelease(app, named)} is not what runs: that is ${shortRelease(app, current)}`,
    {
      hint: `Deploy it instead: skein deploy ${appAsTyped(app, env)} ${named.slice(0, 8)}`,
      data: { app, release: named, current },
    },
  );
}

function notRunning({ app, env }: AppEnv, named: ReleaseId): SkeinError {
  return new SkeinError("NOT_FOUND", `${shortRelease(app, named)} does not run`, {
    hint: `See what runs: skein check ${appAsTyped(app, env)}`,
    data: { app, release: named },
  });
}
