import { SkeinError } from "../../lib/errors/errors.ts";
import type { Digest, KeyId, ReleaseId } from "../../lib/text/ids.ts";
import { nextCharter, openCharter, refuseFuture } from "../charter/charter.ts";
import type { Charter, Order, Receipt, Verdict } from "../document/documents.ts";
import { digestOfEnvelope, parseEnvelope, readUnverified, type Envelope } from "../document/envelope.ts";
import { msOf } from "../document/fields.ts";
import { openBirth, openLabel, openRevoke, relabelled, type Identity } from "../members/identity.ts";
import { compareSerials, openReceipt, type Serial } from "../orders/orders.ts";

/**
 * What a node knows and has promised, as a pure function of what it was told. The agent writes it to disk before
 * it acts on it, so that neither a crash nor a lying hub makes it run what it must not (docs/formats/order.md).
 *
 * Per app and environment a node keeps at most three orders: the `head` (newest accepted), the `standing` one
 * (newest settled), and `prior` (what it last started before the head came). Head and standing never decrease.
 */
export interface NodeState {
  readonly format: 1;
  /** Digest of the first charter; everything is believed because of it. */
  readonly pin: Digest;
  /** All versions since the first, to serve late peers; the last one is in force. */
  readonly charters: readonly Envelope[];
  readonly charter: Charter;
  /** Newest `issued` of an accepted operators' document, ms. The node never thinks it is earlier. */
  readonly clock: number;
  readonly identity: Identity | null;
  readonly documents: {
    readonly ticket: Envelope | null;
    readonly enrol: Envelope | null;
    readonly label: Envelope | null;
    readonly revoke: Envelope | null;
  };
  /** By `app/env`. */
  readonly apps: Readonly<Record<string, AppState>>;
}

/**
 * How far this node went with an order:
 * `waiting` nothing done · `started` it may have changed something · `done` ended well ·
 * `undone` it went back to the fallback · `withdrawn` told to go back before it had started.
 */
export type Progress = "waiting" | "started" | "done" | "undone" | "withdrawn";

export interface HeldOrder extends Serial {
  readonly digest: Digest;
  readonly order: Envelope;
  readonly progress: Progress;
  /** Once settled, with the receipts that proved it. */
  readonly settle: { readonly document: Envelope; readonly receipts: readonly Envelope[] } | null;
  /** Another order with the same serial was seen: the next one's `prev` may name that one. */
  readonly contested: boolean;
  /** It was started here while one of its signers had the right to run it as root. */
  readonly mayRoot: boolean;
}

/** The node's own last receipt: a rewound disk must not go back behind it. */
export interface Floor extends Serial {
  readonly order: Digest;
  readonly release: ReleaseId;
  readonly verdict: Verdict;
}

export interface AppState {
  readonly app: string;
  readonly env: string;
  readonly head: HeldOrder | null;
  readonly standing: HeldOrder | null;
  readonly prior: HeldOrder | null;
  /** No order below it is ever taken: what stood when the ticket was signed. */
  readonly least: Serial | null;
  readonly floor: Floor | null;
}

export interface Context {
  /** The system's clock, ms. */
  readonly now: number;
  /** The node's own key. */
  readonly self: KeyId;
}

/** What came of an input. `refused` leaves the state as it was, but for marks of an alarm. */
export type Outcome =
  | { readonly kind: "accepted" }
  | { readonly kind: "known" }
  /** `alarm`: somebody signed, or handed over, what no honest party would. */
  | { readonly kind: "refused"; readonly error: SkeinError; readonly alarm: boolean };

export interface Step {
  readonly state: NodeState;
  readonly outcome: Outcome;
}

/**
 * A node that pinned a cluster and knows nothing yet.
 * @throws SkeinError CHARTER_PIN, DOC_FROM_FUTURE (this machine's clock is behind), DOC_*
 */
export function newNodeState(first: unknown, pin: Digest, now: number): NodeState {
  const { body } = openCharter(first, pin);
  refuseFuture("charter", body.issued, now);
  return {
    format: 1,
    pin,
    charters: [parseEnvelope(first)],
    charter: body,
    clock: msOf(body.issued),
    identity: null,
    documents: { ticket: null, enrol: null, label: null, revoke: null },
    apps: {},
  };
}

/** The node's notion of time: a clock that was set back does not bring expired orders to life. */
export function effectiveNow(state: NodeState, context: Pick<Context, "now">): number {
  return Math.max(context.now, state.clock);
}

/** The next charter. One that is already known is `known`; another with a known version is an alarm. */
export function acceptCharter(state: NodeState, source: unknown, context: Context): Step {
  return attempt(state, () => {
    const envelope = parseEnvelope(source);
    const { version } = readUnverified(envelope, "charter.1");
    const held = state.charters[version - 1];
    if (held !== undefined && digestOfEnvelope(held) === digestOfEnvelope(envelope)) return known(state);
    const { body } = nextCharter(state.charter, envelope, context.now);
    const charters = [...state.charters, envelope];
    return accepted(raised({ ...state, charters, charter: body }, body.issued));
  });
}

/**
 * The node's own birth certificate, with which it joins.
 * @throws nothing; refused: TICKET_BAD, TICKET_EXPIRED, DOC_*
 */
export function acceptBirth(
  state: NodeState,
  documents: { readonly ticket: unknown; readonly enrol: unknown },
  context: Context,
): Step {
  return attempt(state, () => {
    const ticket = parseEnvelope(documents.ticket);
    const enrol = parseEnvelope(documents.enrol);
    if (
      state.documents.enrol !== null &&
      digestOfEnvelope(enrol) === digestOfEnvelope(state.documents.enrol)
    ) {
      return known(state);
    }
    if (state.identity !== null) throw new SkeinError("TICKET_BAD", "this node has joined already");
    const birth = openBirth(state.charter, documents, { pin: state.pin });
    refuseFuture("ticket", birth.ticket.issued, context.now);
    if (birth.identity.node !== context.self) {
      throw new SkeinError("ORDER_NOT_FOR_NODE", "the enrolment of another node", {
        data: { self: context.self },
      });
    }
    const born = { ...state, identity: birth.identity, documents: { ...state.documents, ticket, enrol } };
    return accepted(raised(withLeast(born, birth.ticket.floor), birth.ticket.issued));
  });
}

export function acceptLabel(state: NodeState, source: unknown, context: Context): Step {
  return attempt(state, () => {
    const envelope = parseEnvelope(source);
    const held = state.documents.label;
    if (held !== null && digestOfEnvelope(held) === digestOfEnvelope(envelope)) return known(state);
    const opened = openLabel(state.charter, envelope, identityOf(state), context.now);
    const identity = relabelled(identityOf(state), opened);
    const documents = { ...state.documents, label: envelope };
    return accepted(raised({ ...state, identity, documents }, opened.body.issued));
  });
}

/** After it the node takes no order any more; what runs goes on running. There is no way back but a new key. */
export function acceptRevoke(state: NodeState, source: unknown, context: Context): Step {
  return attempt(state, () => {
    if (state.documents.revoke !== null) return known(state);
    const opened = openRevoke(state.charter, source, identityOf(state), context.now);
    const documents = { ...state.documents, revoke: parseEnvelope(source) };
    return accepted(raised({ ...state, documents }, opened.body.issued));
  });
}

/**
 * One of the node's own receipts, fetched at start. A disk that was set back to an older snapshot then waits
 * for the order it had reached, instead of starting the one it finds.
 */
export function acceptOwnReceipt(state: NodeState, source: unknown, context: Context): Step {
  return attempt(state, () => {
    const { body } = openReceipt(state.charter.cluster, source);
    if (body.node !== context.self) {
      throw new SkeinError("ORDER_NOT_FOR_NODE", "a receipt of another node", { data: { node: body.node } });
    }
    // A refused order was never this node's head, so it tells nothing about how far the node was.
    if (body.verdict === "refused") return known(state);
    const app = appStateOf(state, body.app, body.env);
    if (app.floor !== null && !tellsMore(body, app.floor)) return known(state);
    const { epoch, seq, order, release, verdict } = body;
    const floor = { epoch, seq, order, release, verdict };
    return accepted(withApp(state, { ...app, floor, ...onEverySlot(app, (held) => caughtUp(held, floor)) }));
  });
}

/** An order that was undone was `ok` before, perhaps; never the other way round. */
function tellsMore(receipt: Receipt, floor: Floor): boolean {
  const newer = compareSerials(receipt, floor);
  return (
    newer > 0 ||
    (newer === 0 && receipt.order === floor.order && floor.verdict === "ok" && receipt.verdict !== "ok")
  );
}

/** The progress that an order must have had for the node to have signed `floor`. */
export function caughtUp(held: HeldOrder, floor: Floor | null): HeldOrder {
  if (held.digest !== floor?.order || held.progress === "undone") return held;
  return { ...held, progress: floor.verdict === "ok" ? "done" : "undone" };
}

export function orderOf(held: HeldOrder): Order {
  return readUnverified(held.order, "order.1");
}

const appKey = (app: string, env: string): string => `${app}/${env}`;

export function appStateOf(state: NodeState, app: string, env: string): AppState {
  const key = appKey(app, env);
  const found = Object.hasOwn(state.apps, key) ? state.apps[key] : undefined;
  return found ?? { app, env, head: null, standing: null, prior: null, least: null, floor: null };
}

type Slots = Pick<AppState, "head" | "standing" | "prior">;

/** One order may be in several slots; what changes about it changes in all of them. */
export function onEverySlot(app: AppState, change: (held: HeldOrder) => HeldOrder): Slots {
  const changed = (held: HeldOrder | null): HeldOrder | null => (held === null ? null : change(held));
  return { head: changed(app.head), standing: changed(app.standing), prior: changed(app.prior) };
}

export function withApp(state: NodeState, app: AppState): NodeState {
  return { ...state, apps: { ...state.apps, [appKey(app.app, app.env)]: app } };
}

/** The state after an operators' document dated `issued` was accepted. */
export function raised(state: NodeState, issued: string): NodeState {
  return { ...state, clock: Math.max(state.clock, msOf(issued)) };
}

export const accepted = (state: NodeState): Step => ({ state, outcome: { kind: "accepted" } });
export const known = (state: NodeState): Step => ({ state, outcome: { kind: "known" } });

export function refused(state: NodeState, error: SkeinError): Step {
  const alarm = ALARMS.has(error.code);
  return { state, outcome: { kind: "refused", error, alarm } };
}
const ALARMS: ReadonlySet<string> = new Set([
  "ORDER_EQUIVOCATION",
  "ORDER_FORK",
  "CHARTER_ROLLBACK",
  "CHARTER_PIN",
]);

/** Runs a step; a refusal by any check leaves the state as it was. */
export function attempt(state: NodeState, step: () => Step): Step {
  try {
    return step();
  } catch (err) {
    if (err instanceof SkeinError) return refused(state, err);
    throw err;
  }
}

/** @throws SkeinError UNKNOWN_CLIENT before the node has its birth certificate */
export function identityOf(state: NodeState): Identity {
  if (state.identity !== null) return state.identity;
  throw new SkeinError("UNKNOWN_CLIENT", "this node has not joined yet");
}

function withLeast(state: NodeState, floors: Readonly<Record<string, Serial>>): NodeState {
  let next = state;
  for (const [key, { epoch, seq }] of Object.entries(floors)) {
    const [app = "", env = ""] = key.split("/");
    next = withApp(next, { ...appStateOf(next, app, env), least: { epoch, seq } });
  }
  return next;
}
