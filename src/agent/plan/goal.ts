import { hash } from "node:crypto";
import type { Gate } from "../../api/field-schemas.ts";
import type { Digest, KeyId } from "../../lib/text/ids.ts";
import { msOf } from "../../trust/document/fields.ts";
import { appStateOf, type AppState, type Context, type NodeState } from "../../trust/node/node-state.ts";
import { wanted, type WantedOrder } from "../../trust/node/wanted.ts";
import type { Goal } from "./plan.ts";
import { newRecord, type AppRecord } from "./records.ts";

/** What the hub said about pace, if it was heard at all. */
export interface Pace {
  /** By order. What a hub does not name is held while it can be reached. */
  readonly gates: ReadonlyMap<Digest, Gate>;
  /** Whether a source that gives gates answers at present. */
  readonly reachable: boolean;
  /** Another live agent has this node's key: nothing new is begun. */
  readonly duplicate: boolean;
}

/** The goal of one app, from what the node holds and the hub's pace; null: leave everything as it is. */
export function goalOf(
  state: NodeState,
  app: Pick<AppRecord, "app" | "env" | "reached" | "verdicts">,
  pace: Pace,
  context: Context,
): Goal | null {
  const now = wanted(state, app.app, app.env, context);
  if (now.kind !== "order") return null;
  const { order, held } = now;
  const shared = {
    order: now.digest,
    hooks: order.hooks === "run",
    go: mayBegin(now, pace, context),
    answers: { epoch: order.epoch, seq: order.seq, release: order.release },
  };
  if (now.why === "undone") {
    const { state: was, generation, beside } = app.reached ?? { ...order, state: "run", beside: [] };
    const release = backTo(now, app);
    const said = app.verdicts[now.digest];
    const isAnswered = said === "undone" || said === "failed";
    return { ...shared, release, state: was, generation, beside, back: true, isAnswered, everywhere: true };
  }
  const { release, state: wish, generation, beside } = order;
  const everywhere = held.settle !== null;
  return { ...shared, release, state: wish, generation, beside, back: false, everywhere };
}

/**
 * The goal of an app with orders in several environments, of which a node holds one. Another one's order is taken as
 * soon as this one's says that nothing shall run: that is brought about, and answered, first.
 * @param record of the environment that is held
 */
export function goalAmong(
  state: NodeState,
  { app, environments, record }: Environments,
  pace: Pace,
  context: Context,
): Goal | null {
  const all = environments.flatMap((env) => {
    const isHeld = record?.env === env;
    const goal = goalOf(state, isHeld ? record : newRecord(app, env), pace, context);
    if (goal === null) return [];
    const isAnswered = isHeld ? isAnsweredBy(record, goal) : isOver(appStateOf(state, app, env), goal.order);
    return [{ goal, isHeld, isAnswered, runs: goal.state === "run" && goal.release !== null }];
  });
  const found =
    all.find(({ isHeld, isAnswered, runs }) => isHeld && !isAnswered && !runs) ??
    all.find(({ runs }) => runs) ??
    all.find(({ isAnswered }) => !isAnswered) ??
    all.find(({ isHeld }) => isHeld) ??
    all[0];
  return found?.goal ?? null;
}

interface Environments {
  readonly app: string;
  /** Of which the node holds orders. */
  readonly environments: readonly string[];
  readonly record: AppRecord | undefined;
}

function isAnsweredBy({ verdicts }: AppRecord, goal: Goal): boolean {
  return goal.back ? goal.isAnswered !== false : verdicts[goal.order] !== undefined;
}

/** Of what a node does not hold any more it has forgotten what it answered. */
function isOver({ head, standing, prior }: AppState, order: Digest): boolean {
  const held = [head, standing, prior].find((one) => one?.digest === order);
  return held?.progress === "done" || held?.progress === "undone";
}

/**
 * Moment from which a node may start a settled order while no hub answers, in ms since the epoch.
 *
 *   start = issued + hash(node, order) mod spread
 *
 * The same for every try, and spread evenly over the nodes, so that a thousand of them do not flip at once. Where nothing
 * is to be spread it is any time: a node whose clock is behind has no reason to wait.
 */
export function unpacedStartMs(node: KeyId, order: Digest, issuedMs: number, spreadMs: number): number {
  if (spreadMs <= 0) return 0;
  const draw = Number.parseInt(hash("sha256", `${node} ${order}`, "hex").slice(0, 12), 16);
  return issuedMs + (draw % spreadMs);
}

function mayBegin(now: WantedOrder, pace: Pace, context: Context): boolean {
  if (now.held.progress !== "waiting") return true;
  if (pace.duplicate) return false;
  if (pace.reachable) return pace.gates.get(now.digest) === "go";
  if (now.held.settle === null) return pace.gates.get(now.digest) === "go";
  const { spreadMs } = now.order.strategy;
  return context.now >= unpacedStartMs(context.self, now.digest, msOf(now.order.issued), spreadMs);
}

/**
 * Where an order that was taken back leads: to its fallback. A node that failed by itself is back at what it had run,
 * which it knows to be good, and stays there; so does one that had something before an order without a fallback.
 */
function backTo(
  { order, digest }: WantedOrder,
  { reached, verdicts }: Pick<AppRecord, "reached" | "verdicts">,
): Goal["release"] {
  if (verdicts[digest] === "failed") return reached?.release ?? null;
  if (order.fallback !== null) return order.fallback;
  return reached === null || reached.release === order.release ? null : reached.release;
}
