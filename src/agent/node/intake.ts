import type { NodeDocuments } from "../../api/member-schemas.ts";
import type { WantedApp } from "../../api/schemas.ts";
import { type ErrorCode, isSkeinError, ownHint, SkeinError } from "../../lib/errors/errors.ts";
import { isDigest, type Digest } from "../../lib/text/ids.ts";
import { rosterDigest, rosterSchema, type Order } from "../../trust/document/documents.ts";
import {
  digestOfEnvelope,
  parseEnvelope,
  readUnverified,
  type Envelope,
} from "../../trust/document/envelope.ts";
import { acceptOrder, acceptSettle, acceptUndo } from "../../trust/node/node-orders.ts";
import {
  acceptBirth,
  acceptCharter,
  acceptLabel,
  acceptOwnReceipt,
  acceptRevoke,
  appStateOf,
  type Context,
  type NodeState,
  type Outcome,
  type Step,
} from "../../trust/node/node-state.ts";
import { compareSerials, openOrder, openRelease } from "../../trust/orders/orders.ts";
import type { KeptDocuments } from "./kept-documents.ts";
import type { NodeStore } from "./node-store.ts";

/** A document that was not taken, and why. */
export interface Refusal {
  readonly type: string;
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint?: string | undefined;
  /** Somebody signed or handed over what no honest party would. */
  readonly alarm: boolean;
  /** The order, where it is one that can be read: refusing it is answered with a receipt. */
  readonly order: { readonly digest: Digest; readonly body: Order } | null;
}

/** What a source says that is signed. */
interface Documents {
  readonly charters: readonly Envelope[];
  /** null: the source knows nobody by name. */
  readonly identity: NodeDocuments | null;
  readonly apps: readonly WantedApp[];
  readonly lastReceipts?: readonly Envelope[] | undefined;
}

/**
 * Takes in what a source says: checks everything, keeps what it leads to, and has the node's new state on disk when
 * it resolves. What is refused changes nothing and is returned.
 */
export async function takeIn(
  wanted: Documents,
  store: NodeStore,
  kept: KeptDocuments,
  context: Context,
): Promise<readonly Refusal[]> {
  const offers: Offer[] = [...earlyOffers(wanted, context)];
  for (const app of wanted.apps) offers.push(...appOffers(app, context));
  const later = await store.apply(offers.filter((offer) => offer.early).map(({ step }) => step));
  // Releases are checked under the newest charter, and are on disk before an order that names them is accepted.
  for (const app of wanted.apps) await keepDocuments(app, store.state, kept, context);
  const outcomes = await store.apply(offers.filter((offer) => !offer.early).map(({ step }) => step));
  const refusals = [...offers.filter((o) => o.early), ...offers.filter((o) => !o.early)];
  return refusals.flatMap((offer, n) => refusalOf(offer, [...later, ...outcomes][n]));
}

/** One document offered to the state. */
interface Offer {
  readonly type: string;
  /** Charters and identity come before releases are judged. */
  readonly early: boolean;
  readonly envelope: Envelope | null;
  readonly step: (state: NodeState) => Step;
}

const early = (type: string, envelope: Envelope, step: Offer["step"]): Offer => ({
  type,
  early: true,
  envelope,
  step,
});

function earlyOffers({ charters, identity, lastReceipts }: Documents, context: Context): readonly Offer[] {
  return [
    ...charters.map((one) => early("charter", one, (s) => acceptCharter(s, one, context))),
    ...(identity === null ? [] : identityOffers(identity, context)),
    ...(lastReceipts ?? []).map((one) => early("receipt", one, (s) => acceptOwnReceipt(s, one, context))),
  ];
}

function identityOffers({ ticket, enrol, label, revoke }: NodeDocuments, context: Context): readonly Offer[] {
  const offers = [
    early("enrol", enrol, (state) =>
      state.identity === null ? acceptBirth(state, { ticket, enrol }, context) : unchanged(state),
    ),
  ];
  if (label !== null) offers.push(early("label", label, (s) => acceptLabel(s, label, context)));
  if (revoke !== null) offers.push(early("revoke", revoke, (s) => acceptRevoke(s, revoke, context)));
  return offers;
}

function appOffers(app: WantedApp, context: Context): readonly Offer[] {
  const settles = new Map(app.settles.map((one) => [settledBy(one.settle), one]));
  const offers = oldestFirst(app.orders).flatMap((order) => {
    const settle = settles.get(digestOfEnvelope(order));
    return settle === undefined
      ? [orderOffer(order, (state) => acceptOrder(state, order, context))]
      : settledOffers(proof(app, settle, order), order, context);
  });
  for (const [name, gate] of Object.entries(app.gates)) {
    if (gate === "undo" && isDigest(name)) offers.push(undoOffer(app, name, context));
  }
  return offers;
}

function orderOffer(envelope: Envelope, step: Offer["step"]): Offer {
  return { type: "order", early: false, envelope, step };
}

/**
 * A settled order also counts after applyBefore and below the head; unsettled, only as a new head. A settle that is
 * none says nothing against its order: what the node runs by it is not refused.
 */
function settledOffers(
  input: Parameters<typeof acceptSettle>[1],
  order: Envelope,
  context: Context,
): readonly Offer[] {
  let refusal: Outcome | undefined;
  const step = (state: NodeState): Step => {
    const proven = acceptSettle(state, input, context);
    if (proven.outcome.kind !== "refused") return proven;
    const taken = acceptOrder(state, order, context);
    const { outcome } = taken;
    const isOfOrder = outcome.kind === "refused" && outcome.error.code === proven.outcome.error.code;
    refusal = isOfOrder ? undefined : proven.outcome;
    return taken;
  };
  const said = (state: NodeState): Step =>
    refusal === undefined ? unchanged(state) : { state, outcome: refusal };
  return [orderOffer(order, step), { type: "settle", early: false, envelope: null, step: said }];
}

function undoOffer({ app, env }: WantedApp, order: Digest, context: Context): Offer {
  return {
    type: "undo",
    early: false,
    envelope: null,
    step: (state) => {
      // The hub names every order that it takes back; those that are not (or no longer) this node's head are past.
      if (appStateOf(state, app, env).head?.digest !== order) return unchanged(state);
      return acceptUndo(state, { app, env, order }, context);
    },
  };
}

function proof(
  app: WantedApp,
  { settle, receipts }: WantedApp["settles"][number],
  order: Envelope,
): Parameters<typeof acceptSettle>[1] {
  const roster = app.rosters[rosterOf(order) ?? ""] ?? null;
  return { settle, receipts, roster, order };
}

async function keepDocuments(
  app: WantedApp,
  state: NodeState,
  kept: KeptDocuments,
  context: Context,
): Promise<void> {
  for (const envelope of app.releases) {
    try {
      const { id } = openRelease(state.charter, envelope, context.now);
      await kept.putRelease(id, parseEnvelope(envelope));
    } catch (err) {
      if (!isSkeinError(err)) throw err; // an order that needs this very one says so when it is begun
    }
  }
  const named = rostersOf(app.orders, state, context);
  for (const roster of Object.values(app.rosters)) {
    const parsed = rosterSchema.safeParse(roster);
    if (!parsed.success) continue;
    const digest = rosterDigest(parsed.data);
    if (named.has(digest)) await kept.putRoster(digest, parsed.data);
  }
}

/** What orders signed: a source could fill the disk with any others. */
function rostersOf(orders: readonly Envelope[], { charter }: NodeState, { now }: Context): Set<Digest> {
  const named = new Set<Digest>();
  for (const order of orders) {
    try {
      named.add(openOrder(charter, order, now).body.roster);
    } catch (err) {
      if (!isSkeinError(err)) throw err; // it is refused where it is taken
    }
  }
  return named;
}

function refusalOf(offer: Offer, outcome: Outcome | undefined): readonly Refusal[] {
  if (outcome?.kind !== "refused") return [];
  const { error, alarm } = outcome;
  const { code, message } = error;
  return [{ type: offer.type, code, message, hint: ownHint(error), alarm, order: readableOrder(offer) }];
}

function readableOrder({ type, envelope }: Offer): Refusal["order"] {
  if (type !== "order" || envelope === null) return null;
  try {
    return { digest: digestOfEnvelope(envelope), body: readUnverified(envelope, "order.1") };
  } catch (err) {
    if (err instanceof SkeinError) return null;
    throw err;
  }
}

function oldestFirst(orders: readonly Envelope[]): readonly Envelope[] {
  const serial = (order: Envelope): { readonly epoch: number; readonly seq: number } => {
    try {
      return readUnverified(order, "order.1");
    } catch {
      return { epoch: 0, seq: 0 }; // refused for what it is, wherever it stands
    }
  };
  return [...orders].sort((a, b) => compareSerials(serial(a), serial(b)));
}

function settledBy(settle: Envelope): Digest | undefined {
  try {
    return readUnverified(settle, "settle.1").order;
  } catch {
    return undefined; // no order's settle; it is not looked at
  }
}

function rosterOf(order: Envelope): Digest | undefined {
  try {
    return readUnverified(order, "order.1").roster;
  } catch {
    return undefined;
  }
}

const unchanged = (state: NodeState): Step => ({ state, outcome: { kind: "known" } });
