import { SkeinError, isSkeinError } from "../../lib/errors/errors.ts";
import type { Digest } from "../../lib/text/ids.ts";
import type { Charter, Order, Roster, Settle } from "../document/documents.ts";
import { parseEnvelope, type Envelope, type Opened } from "../document/envelope.ts";
import { msOf } from "../document/fields.ts";
import {
  accepted,
  appStateOf,
  attempt,
  caughtUp,
  effectiveNow,
  identityOf,
  known,
  onEverySlot,
  orderOf,
  raised,
  refused,
  withApp,
  type AppState,
  type Context,
  type HeldOrder,
  type NodeState,
  type Progress,
  type Step,
} from "./node-state.ts";
import {
  compareSerials,
  openOrder,
  openSettle,
  orderMayRoot,
  refuseUnproven,
  serialText,
  type Serial,
} from "../orders/orders.ts";
import { matches, parseSelector } from "../document/selector.ts";
import { wanted } from "./wanted.ts";

/** A settle with what a node needs to believe it; `order` where the node may not have it yet. */
export interface SettleInput {
  readonly settle: unknown;
  readonly receipts: readonly unknown[];
  readonly roster: Roster | null;
  readonly order?: unknown;
}

export interface OrderName {
  readonly app: string;
  readonly env: string;
  readonly order: Digest;
}

/**
 * A new order becomes the head. Nothing may be done about it before the returned state is on disk.
 * Refused: DOC_*, WRONG_CLUSTER, CHARTER_EXPIRED, REVOKED, ORDER_NOT_FOR_NODE, ENV_CONFLICT, ORDER_ROLLBACK,
 * ORDER_EXPIRED, ORDER_FORK, and ORDER_EQUIVOCATION, after which the node holds the first of the two.
 */
export function acceptOrder(state: NodeState, source: unknown, context: Context): Step {
  return attempt(state, () => {
    const incoming = readOrder(state, source, context);
    const app = incoming.app;
    if (find(app, incoming.held.digest) !== undefined) return known(resigned(state, incoming));
    const contested = contestedBy(app, incoming.held);
    if (contested !== undefined) return equivocation(state, contested, incoming.held);
    refuseOtherEnv(state, incoming.body, context);
    const take = (next: AppState): Step => accepted(raised(withApp(state, next), incoming.body.issued));
    // What this node signed a receipt for it had accepted and started in time, even if its disk forgot.
    if (app.floor?.order === incoming.held.digest) return take(takenBack(app, incoming.held));
    refuseOld(incoming, { newest: app.head, floor: app.floor });
    refuseForks(incoming);
    if (effectiveNow(state, context) >= msOf(incoming.body.applyBefore)) throw expired(incoming.body);
    return take(newHead(app, incoming.held));
  });
}

/**
 * A settle makes its order stand, with no end in time: the head, an older order that a newer head overtook, or
 * an order that the node learns only now (a late node). Refused: SETTLE_UNPROVEN and as for an order.
 */
export function acceptSettle(state: NodeState, input: SettleInput, context: Context): Step {
  return attempt(state, () => {
    const { body: settle } = openSettle(state.charter, input.settle, context.now);
    const app = appStateOf(state, settle.app, settle.env);
    const mine = find(app, settle.order);
    if (mine?.settle) return known(state);
    const incoming =
      mine === undefined
        ? readOrder(state, present(settle, input.order), context)
        : { app, held: mine, body: orderOf(mine) };
    const proof = proofOf(settle, incoming, input);
    refuseOtherEnv(state, incoming.body, context);
    if (mine === undefined) {
      const contested = contestedBy(app, incoming.held);
      if (contested !== undefined) return equivocation(state, contested, incoming.held);
      refuseOld(incoming, { newest: app.standing, floor: null });
      refuseForks(incoming);
    }
    const stands = withApp(
      state,
      standingWith(app, { ...caughtUp(incoming.held, app.floor), settle: proof }),
    );
    return accepted(raised(raised(stands, incoming.body.issued), settle.issued));
  });
}

/**
 * The hub's word that the head is to be taken back. It needs no signature, for it leads only where the order
 * says, and only for so long. Refused: UNDO_TOO_LATE, NOT_FOUND when it is not the head.
 */
export function acceptUndo(state: NodeState, name: OrderName, context: Context): Step {
  return attempt(state, () => {
    const app = appStateOf(state, name.app, name.env);
    const head = headNamed(app, name);
    if (head.progress === "undone" || head.progress === "withdrawn") return known(state);
    const { undoBefore } = orderOf(head);
    if (head.settle !== null) throw tooLate(name, "it was settled");
    if (effectiveNow(state, context) >= msOf(undoBefore)) throw tooLate(name, `undoBefore was ${undoBefore}`);
    const progress = head.progress === "waiting" ? "withdrawn" : "undone";
    return accepted(withApp(state, { ...app, head: { ...head, progress } }));
  });
}

/**
 * The node is about to act on what is wanted. To be on disk before the first change: from here on the order is
 * this node's own, whatever the time. Refused: ORDER_EXPIRED when it is not what is wanted (any more).
 */
export function started(state: NodeState, name: OrderName, context: Context): Step {
  return attempt(state, () => {
    const now = wanted(state, name.app, name.env, context);
    if (now.kind !== "order" || now.digest !== name.order) throw notWanted(name);
    // What ended one way or the other is wanted as it is; converging to it again is no new start.
    if (touched(now.held.progress)) return known(state);
    refuseOtherEnv(state, now.order, context, true);
    const app = appStateOf(state, name.app, name.env);
    const mayRoot = mayRunAsRoot(state.charter, now.held, context.now);
    const begun = { ...app, ...everySlot(app, name.order, { mayRoot }) };
    return marked(withApp(state, begun), name, "started");
  });
}

/**
 * May what an order names run as root here? By the charter in force, or as it was when the order was started: what a node
 * accepted stays when a charter drops who signed it.
 */
export function mayRunAsRoot(charter: Charter, { mayRoot, order }: HeldOrder, now: number): boolean {
  if (mayRoot) return true;
  try {
    return orderMayRoot(charter, openOrder(charter, order, now));
  } catch (err) {
    if (isSkeinError(err)) return false;
    throw err;
  }
}

/** What was started ended well: the receipt `ok` may be signed. */
export function finished(state: NodeState, name: OrderName): Step {
  return attempt(state, () => marked(state, name, "done", "started"));
}

/** The node's own checks failed while it applied the order: it goes back by itself, settled or not, at any time. */
export function failed(state: NodeState, name: OrderName): Step {
  return attempt(state, () => marked(state, name, "undone", "started"));
}

interface Incoming {
  readonly app: AppState;
  readonly body: Order;
  readonly held: HeldOrder;
}

function readOrder(state: NodeState, source: unknown, context: Context): Incoming {
  const opened = openOrder(state.charter, source, context.now);
  const { body } = opened;
  refuseOthers(state, body);
  return { app: appStateOf(state, body.app, body.env), body, held: heldOrder(opened, parseEnvelope(source)) };
}

/** Is the order for this node? One without a name takes only what is for all. */
function refuseOthers(state: NodeState, { selector }: Order): void {
  const parsed = parseSelector(selector);
  if (state.identity === null && parsed.kind === "all") return;
  const identity = identityOf(state);
  if (state.documents.revoke !== null) throw new SkeinError("REVOKED", `${identity.name} was revoked`);
  if (matches(parsed, identity)) return;
  throw new SkeinError(
    "ORDER_NOT_FOR_NODE",
    `the order's selector '${selector}' does not name ${identity.name}`,
    {
      data: { selector, node: identity.name },
    },
  );
}

function heldOrder({ body, digest }: Opened<"order.1">, order: Envelope): HeldOrder {
  const { epoch, seq } = body;
  return { epoch, seq, digest, order, progress: "waiting", settle: null, contested: false, mayRoot: false };
}

/**
 * A node holds one environment of an app.
 * @param onlyStarted count only what the node acts on already, not what it merely accepted
 */
function refuseOtherEnv(state: NodeState, order: Order, context: Context, onlyStarted = false): void {
  const others = Object.values(state.apps).filter(({ app, env }) => app === order.app && env !== order.env);
  for (const { app, env } of others) {
    const now = wanted(state, app, env, context);
    if (now.kind === "none" || (now.kind === "order" && now.state === "stopped")) continue;
    if (onlyStarted && (now.kind === "wait" || !touched(now.held.progress))) continue;
    throw new SkeinError(
      "ENV_CONFLICT",
      `this node holds ${app} in ${env}, and the order is for ${order.env}`,
      {
        hint: `Deploy to other nodes, or stop the other one there: skein stop ${app} --env ${env} --on ${state.identity?.name ?? "NODE"}.`,
        data: { app, holds: env, ordered: order.env },
      },
    );
  }
}

/** Whether the node may have changed something because of an order. */
function touched(progress: Progress): boolean {
  return progress !== "waiting" && progress !== "withdrawn";
}

function present(settle: Settle, order: unknown): unknown {
  if (order === undefined || order === null) throw unknownOrder(settle.order);
  return order;
}

/** @throws SkeinError SETTLE_UNPROVEN */
function proofOf(settle: Settle, { body, held }: Incoming, input: SettleInput): HeldOrder["settle"] {
  const { roster, receipts } = input;
  const counted = refuseUnproven({ settle, order: body, orderDigest: held.digest, roster, receipts });
  return { document: parseEnvelope(input.settle), receipts: counted.map((one) => parseEnvelope(one)) };
}

/**
 * The same order under other signatures: those of a revoked key prove nothing any more to peers and restored hubs,
 * whom this node's copy may have to convince.
 */
function resigned(state: NodeState, { app, held: { digest, order } }: Incoming): NodeState {
  const held = find(app, digest);
  const same = held !== undefined && JSON.stringify(held.order.s) === JSON.stringify(order.s);
  return same ? state : withApp(state, { ...app, ...everySlot(app, digest, { order }) });
}

/** The order in one of the slots that has this serial but is another one; also what the node once signed for. */
function contestedBy(
  app: AppState,
  order: HeldOrder,
): { readonly app: AppState; readonly first: Digest } | undefined {
  for (const slot of ["head", "standing", "prior"] as const) {
    const held = app[slot];
    if (held !== null && compareSerials(held, order) === 0 && held.digest !== order.digest) {
      return { app: { ...app, ...everySlot(app, held.digest, { contested: true }) }, first: held.digest };
    }
  }
  const { floor } = app;
  const against = floor !== null && compareSerials(floor, order) === 0 && floor.order !== order.digest;
  return against ? { app, first: floor.order } : undefined;
}

function equivocation(
  state: NodeState,
  { app, first }: { readonly app: AppState; readonly first: Digest },
  second: HeldOrder,
): Step {
  const error = new SkeinError(
    "ORDER_EQUIVOCATION",
    `two orders of ${app.app}/${app.env} have serial ${serialText(second)}`,
    {
      data: { app: app.app, env: app.env, serial: serialText(second), first, second: second.digest },
    },
  );
  return refused(withApp(state, app), error);
}

/** `newest`: what the order must be newer than; `floor`: what it must at least be. */
function refuseOld(
  { app, held }: Incoming,
  limits: { readonly newest: HeldOrder | null; readonly floor: Serial | null },
): void {
  const isBelow = (limit: Serial | null): boolean => limit !== null && compareSerials(held, limit) < 0;
  const notNewer = limits.newest !== null && compareSerials(held, limits.newest) <= 0;
  if (notNewer || isBelow(app.least) || isBelow(limits.floor)) {
    const data = {
      app: app.app,
      env: app.env,
      serial: serialText(held),
      head: app.head && serialText(app.head),
    };
    throw new SkeinError(
      "ORDER_ROLLBACK",
      `order ${serialText(held)} of ${app.app}/${app.env} is older than what was accepted`,
      { data },
    );
  }
}

function refuseForks({ app, body, held }: Incoming): void {
  for (const other of [app.head, app.standing, app.prior]) refuseFork(other, body, held);
}

/** Neighbours must name each other. Where either serial is contested, the name may rightly be the other order's. */
function refuseFork(other: HeldOrder | null, body: Order, held: HeldOrder): void {
  if (other === null || other.contested || other.epoch !== held.epoch) return;
  const follows = other.seq + 1 === held.seq && body.prev !== other.digest;
  const precedes = held.seq + 1 === other.seq && orderOf(other).prev !== held.digest;
  if (!follows && !precedes) return;
  throw new SkeinError(
    "ORDER_FORK",
    `orders ${serialText(other)} and ${serialText(held)} of ${body.app}/${body.env} are not of one chain`,
    {
      data: { app: body.app, env: body.env, held: other.digest, offered: held.digest },
    },
  );
}

function newHead(app: AppState, held: HeldOrder): AppState {
  return { ...app, head: caughtUp(held, app.floor), prior: priorAfter(app) };
}

/** The order of the floor comes back: as the head, or as what was started before a newer head came. */
function takenBack(app: AppState, held: HeldOrder): AppState {
  if (app.head === null || compareSerials(held, app.head) > 0) return newHead(app, held);
  const isNewer = app.prior === null || compareSerials(held, app.prior) > 0;
  return isNewer ? { ...app, prior: caughtUp(held, app.floor) } : app;
}

/** What the node ran when a newer head came: the old head, if anything was done about it. */
function priorAfter({ head, prior }: AppState): HeldOrder | null {
  return head !== null && touched(head.progress) ? head : prior;
}

/** Puts a settled order where it belongs: in the slots that hold it, and on top of what stood. */
function standingWith(app: AppState, settled: HeldOrder): AppState {
  const same = everySlot(app, settled.digest, { settle: settled.settle });
  const next = { ...app, ...same };
  const isNewest = next.head === null || compareSerials(settled, next.head) > 0;
  const top = isNewest ? newHead(next, settled) : next;
  const stands = app.standing === null || compareSerials(settled, app.standing) > 0;
  return stands ? { ...top, standing: find(top, settled.digest) ?? settled } : top;
}

function find({ head, standing, prior }: AppState, digest: Digest): HeldOrder | undefined {
  return [head, standing, prior].find((held) => held?.digest === digest) ?? undefined;
}

function everySlot(
  app: AppState,
  digest: Digest,
  change: Partial<HeldOrder>,
): ReturnType<typeof onEverySlot> {
  return onEverySlot(app, (held) => (held.digest === digest ? { ...held, ...change } : held));
}

function marked(state: NodeState, name: OrderName, progress: Progress, only?: Progress): Step {
  const app = appStateOf(state, name.app, name.env);
  const held = find(app, name.order);
  if (held === undefined) throw unknownOrder(name.order);
  if (held.progress === progress) return known(state);
  if (only !== undefined && held.progress !== only) throw notWanted(name);
  return accepted(withApp(state, { ...app, ...everySlot(app, name.order, { progress }) }));
}

function headNamed({ head, app, env }: AppState, { order }: OrderName): HeldOrder {
  if (head?.digest === order) return head;
  throw new SkeinError("NOT_FOUND", `order ${order.slice(0, 8)} is not the head of ${app}/${env}`, {
    data: { app, env, order, head: head?.digest ?? null },
  });
}

function expired(order: Order): SkeinError {
  return new SkeinError("ORDER_EXPIRED", `the order was to be applied before ${order.applyBefore}`, {
    data: { applyBefore: order.applyBefore, serial: serialText(order) },
  });
}

function notWanted({ app, env, order }: OrderName): SkeinError {
  return new SkeinError("ORDER_EXPIRED", `order ${order.slice(0, 8)} is not what ${app}/${env} wants now`, {
    data: { app, env, order },
  });
}

function tooLate({ app, env, order }: OrderName, why: string): SkeinError {
  return new SkeinError(
    "UNDO_TOO_LATE",
    `order ${order.slice(0, 8)} of ${app}/${env} cannot be undone: ${why}`,
    {
      data: { app, env, order },
    },
  );
}

function unknownOrder(order: Digest): SkeinError {
  return new SkeinError("NOT_FOUND", `order ${order.slice(0, 8)} is not held here`, { data: { order } });
}
