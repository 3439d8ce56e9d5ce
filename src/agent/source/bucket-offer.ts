import { readOrderEntry, type OrderEntry } from "../../bucket/entries.ts";
import { followCharters, told, VOID } from "../../bucket/following.ts";
import { compareOrders, orderName, orderPlaceOf, type OrderPlace } from "../../bucket/layout.ts";
import { ordersOf } from "../../bucket/publish.ts";
import type { Root } from "../../bucket/root.ts";
import type { WantedApp } from "../../api/schemas.ts";
import type { DocumentStore } from "../../depot/documents.ts";
import { isSkeinError, SkeinError } from "../../lib/errors.ts";
import { rosterDigest, type Charter } from "../../trust/documents.ts";
import { digestOfEnvelope, readUnverified, type Envelope } from "../../trust/envelope.ts";
import { openOrder } from "../../trust/orders.ts";
import { appStateOf, type NodeState } from "../../trust/node-state.ts";
import { matches, parseSelector } from "../../trust/selector.ts";

/** What a bucket has that a node does not know yet, and where it says less than the node has seen. */
export interface BucketOffer {
  readonly charters: readonly Envelope[];
  readonly apps: readonly WantedApp[];
  /** What no honest bucket says; and BUCKET_STALE, for each thing that went back. */
  readonly troubles: readonly SkeinError[];
  /** Names of newest orders that are for other nodes: they need not be read again while this node is who it is. */
  readonly others: readonly string[];
}

/** Which apps and environments are asked about. */
export type Wish = (app: string, env: string) => boolean;

export interface OfferOptions {
  readonly wish: Wish;
  /** What `others` told before. */
  readonly passed: ReadonlySet<string>;
  readonly now: number;
  readonly signal: AbortSignal;
}

/** How far back an order is looked for where the newest ones are for other nodes. */
const READ_BACK = 20;

/**
 * Reads what the root leads to beyond what the node holds: nothing where it holds everything.
 * @throws SkeinError what the store throws
 */
export async function bucketOffer(
  documents: DocumentStore,
  root: Root,
  state: NodeState,
  { wish, passed, now, signal }: OfferOptions,
): Promise<BucketOffer> {
  const { envelopes, charter, trouble } = await followCharters(documents, state.charter, root.charter, {
    now,
    signal,
  });
  const apps: WantedApp[] = [];
  const troubles: SkeinError[] = [
    ...(trouble === undefined ? [] : [trouble]),
    ...staleness(root, state, wish),
  ];
  const others: string[] = [];
  for (const name of newestOrders(root, wish)) {
    const place = orderPlaceOf(name);
    if (place === undefined || passed.has(name) || compareWithHeld(place, state) !== "newer") continue;
    const own = await newestFor(documents, place, state, { charter, now, signal });
    if (own.found !== undefined) apps.push(own.found.wanted);
    troubles.push(...own.troubles);
    // What nobody signed is looked past each time: an order that is older by its name may come yet.
    if (own.found?.name !== name && own.troubles.length === 0) others.push(name);
  }
  return { charters: envelopes, apps, troubles, others };
}

interface OrderLook {
  /** The newest one, offered with the order or known. */
  readonly charter: Charter;
  readonly now: number;
  readonly signal: AbortSignal;
}

interface FoundOrder {
  readonly found: { readonly name: string; readonly wanted: WantedApp } | undefined;
  readonly troubles: readonly SkeinError[];
}

/**
 * The newest order of an app that names this node; a selector need not name the same nodes each time. What is no order
 * that anybody may sign is told, and passed over: whoever can write the bucket can give it any name.
 */
async function newestFor(
  documents: DocumentStore,
  newest: OrderPlace,
  state: NodeState,
  look: OrderLook,
): Promise<FoundOrder> {
  let places: readonly OrderPlace[] = [newest];
  const troubles: SkeinError[] = [];
  for (let n = 0; n < READ_BACK; n++) {
    const place = places.at(-1);
    if (place === undefined || compareWithHeld(place, state) !== "newer") break;
    // Nothing there: it was withdrawn since, and the next root says so.
    const entry = await orderEntry(documents, place, look).catch((err: unknown) => {
      if (!isSkeinError(err, ...VOID)) throw err;
      troubles.push(told(orderName(place), "order", err));
      return undefined;
    });
    if (entry !== undefined && isFor(entry, state))
      return { found: { name: orderName(place), wanted: wantedOf(place, entry) }, troubles };
    if (n === 0) places = await olderThan(newest, documents, look.signal);
    else places = places.slice(0, -1);
  }
  return { found: undefined, troubles };
}

async function orderEntry(
  documents: DocumentStore,
  place: OrderPlace,
  { charter, now, signal }: OrderLook,
): Promise<OrderEntry | undefined> {
  const entry = await readOrderEntry(documents, orderName(place), signal);
  if (entry === undefined) return undefined;
  const { app, env, epoch, seq } = readUnverified(entry.order, "order.1");
  if (app !== place.app || env !== place.env || epoch !== place.epoch || seq !== place.seq)
    throw new SkeinError("DOC_MALFORMED", `it is order ${seq} of ${app}/${env}`, { data: { app, env } });
  refuseVoid(charter, entry.order, now);
  return entry;
}

/** What else is wrong with it is told when it is taken in. */
function refuseVoid(charter: Charter, order: Envelope, now: number): void {
  try {
    openOrder(charter, order, now);
  } catch (err) {
    if (!isSkeinError(err) || isSkeinError(err, ...VOID)) throw err;
  }
}

async function olderThan(
  newest: OrderPlace,
  documents: DocumentStore,
  signal: AbortSignal,
): Promise<readonly OrderPlace[]> {
  const all = await ordersOf(newest.app, newest.env, { documents, signal });
  return all.filter((place) => compareOrders(place, newest) < 0);
}

/** Only to see whether it is worth offering: whoever takes it in checks its signature, and this again. */
function isFor({ order }: OrderEntry, { identity }: NodeState): boolean {
  const selector = parseSelector(readUnverified(order, "order.1").selector);
  return identity === null ? selector.kind === "all" : matches(selector, identity);
}

/** What a bucket's order tells an agent: all that a hub would, but for a gate. */
function wantedOf({ app, env }: OrderPlace, { order, settle, roster, releases }: OrderEntry): WantedApp {
  return {
    app,
    env,
    orders: [order],
    rosters: { [rosterDigest(roster)]: roster },
    settles: [{ settle, receipts: [] }],
    releases,
    gates: {},
  };
}

function newestOrders(root: Root, wish: Wish): readonly string[] {
  return Object.entries(root.apps).flatMap(([app, { orders }]) =>
    Object.entries(orders).flatMap(([env, name]) => (wish(app, env) ? [name] : [])),
  );
}

/** Another order with the held one's serial is read too: that is an alarm. */
function compareWithHeld(place: OrderPlace, state: NodeState): "newer" | "known" | "older" {
  const { head } = appStateOf(state, place.app, place.env);
  if (head === null) return "newer";
  const digest = place.digest === null ? null : head.digest;
  const held = compareOrders(place, { ...place, epoch: head.epoch, seq: head.seq, digest });
  if (held === 0) return head.settle === null ? "newer" : "known";
  const sameSerial = place.epoch === head.epoch && place.seq === head.seq;
  return held > 0 || sameSerial ? "newer" : "older";
}

function staleness(root: Root, state: NodeState, wish: Wish): readonly SkeinError[] {
  const stale: SkeinError[] = [];
  if (root.charter < state.charters.length) {
    const [has, known] = [root.charter, state.charters.length];
    stale.push(gone(`charter ${known} is known here, and the bucket has ${has}`, { has, known }));
  }
  for (const { app, env, head } of Object.values(state.apps)) {
    if (head === null || !wish(app, env)) continue;
    const name = root.apps[app]?.orders[env];
    const place = name === undefined ? undefined : orderPlaceOf(name);
    if (place !== undefined && compareWithHeld(place, state) !== "older") continue;
    const has = place?.seq ?? 0;
    const data = { app, env, has, known: head.seq, order: digestOfEnvelope(head.order) };
    stale.push(
      gone(`order ${head.seq} of ${app}/${env} is known here, and the bucket has ${has || "none"}`, data),
    );
  }
  return stale;
}

function gone(what: string, data: Readonly<Record<string, unknown>>): SkeinError {
  return new SkeinError("BUCKET_STALE", `the bucket was set back: ${what}`, { data });
}
