import { readOrderEntry, type OrderEntry } from "../../bucket/entries.ts";
import { followCharters, told, VOID } from "../../bucket/following.ts";
import { compareOrders, orderName, orderPlaceOf, type OrderPlace } from "../../bucket/layout.ts";
import { ordersOf } from "../../bucket/publish.ts";
import type { Seen } from "../../bucket/looking.ts";
import { appIn, orderIn, type Root } from "../../bucket/root.ts";
import type { WantedApp } from "../../api/schemas.ts";
import type { DocumentStore } from "../../depot/seam/documents.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { digestOf, type Digest } from "../../lib/text/ids.ts";
import { rosterDigest, type Charter } from "../../trust/document/documents.ts";
import { digestOfEnvelope, readUnverified, type Envelope } from "../../trust/document/envelope.ts";
import { compareSerials, openOrder } from "../../trust/orders/orders.ts";
import { appStateOf, type NodeState } from "../../trust/node/node-state.ts";
import { matches, parseSelector } from "../../trust/document/selector.ts";

/** What a bucket has that a node does not know yet, and where it says less than the node has seen. */
export interface BucketOffer {
  readonly charters: readonly Envelope[];
  readonly apps: readonly WantedApp[];
  /** What no honest bucket says; and BUCKET_STALE, for each thing that went back. */
  readonly troubles: readonly SkeinError[];
  /** What to give at the next look. */
  readonly looked: Looked;
}

/**
 * The newest orders as they were read, by name. A bucket that was set back gives a name once more to whoever orders next,
 * so each is read anew when the bucket says something else of its app, or was listed since.
 */
export type Looked = Readonly<Record<string, LookedOrder>>;

interface LookedOrder {
  /** What the root said of the app, and when the bucket was listed. */
  readonly said: Digest;
  readonly order: Digest;
  /** It need not be read again while this node is who it is. */
  readonly isForOthers: boolean;
}

/** Which apps and environments are asked about. */
export type Wish = (app: string, env: string) => boolean;

export interface OfferOptions {
  readonly wish: Wish;
  /** What was looked at before. */
  readonly looked: Looked;
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
  { root, listedMs }: Pick<Seen, "root" | "listedMs">,
  state: NodeState,
  { wish, looked, now, signal }: OfferOptions,
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
  const kept: Record<string, LookedOrder> = {};
  for (const name of newestOrders(root, wish)) {
    const place = orderPlaceOf(name);
    if (place === undefined || compareWithHeld(place, state) < 0) continue;
    const said = digestOf(JSON.stringify([appIn(root, place.app), listedMs]));
    const look = { charter, now, signal, ...knownBefore(place, said, looked[name], state) };
    const own = await newestFor(documents, place, state, look);
    if (own.found !== undefined) apps.push(own.found.wanted);
    troubles.push(...own.troubles);
    // What nobody signed is looked past each time: an order that is older by its name may come yet.
    if (own.newest === undefined || own.troubles.length > 0) continue;
    const isForOthers = own.found?.name !== name && !isHeld(own.newest, place, state);
    kept[name] = { said, order: own.newest, isForOthers };
  }
  return { charters: envelopes, apps, troubles, looked: kept };
}

/** What need not be read: the node holds it, or it was read before and is for others. */
function knownBefore(
  place: OrderPlace,
  said: Digest,
  before: LookedOrder | undefined,
  state: NodeState,
): Pick<OrderLook, "known" | "isDone"> {
  return {
    known: place.digest ?? (before?.said === said ? before.order : undefined),
    isDone: (order) =>
      order !== undefined && (isHeld(order, place, state) || (order === before?.order && before.isForOthers)),
  };
}

function isHeld(order: Digest, { app, env }: OrderPlace, state: NodeState): boolean {
  const { head } = appStateOf(state, app, env);
  return order === head?.digest && head.settle !== null;
}

interface OrderLook {
  /** The newest one, offered with the order or known. */
  readonly charter: Charter;
  readonly now: number;
  readonly signal: AbortSignal;
  /** What is under the newest name, where that is known without a read. */
  readonly known: Digest | undefined;
  readonly isDone: (order: Digest | undefined) => boolean;
}

interface FoundOrder {
  /** What is under the newest name; undefined: nothing that can be read. */
  readonly newest: Digest | undefined;
  readonly found?: { readonly name: string; readonly wanted: WantedApp };
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
  if (look.isDone(look.known)) return { newest: look.known, troubles: [] };
  let places: readonly OrderPlace[] = [newest];
  let first: Digest | undefined;
  const troubles: SkeinError[] = [];
  for (let n = 0; n < READ_BACK; n++) {
    const place = places.at(-1);
    if (place === undefined || compareWithHeld(place, state) < 0) break;
    // Nothing there: it was withdrawn since, and the next root says so.
    const entry = await orderEntry(documents, place, look).catch((err: unknown) => {
      if (!isSkeinError(err, ...VOID)) throw err;
      troubles.push(told(orderName(place), "order", err));
      return undefined;
    });
    const digest = entry && digestOfEnvelope(entry.order);
    if (n === 0) first = digest;
    if (look.isDone(digest)) break;
    if (entry !== undefined && isFor(entry, state)) {
      const found = { name: orderName(place), wanted: wantedOf(place, entry) };
      return { newest: first, found, troubles };
    }
    if (n === 0) places = await olderThan(newest, documents, look.signal);
    else places = places.slice(0, -1);
  }
  return { newest: first, troubles };
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

/**
 * Negative where what the node holds is newer. By the serial alone: another order with the held one's is an alarm, and
 * only what is under the name tells.
 */
function compareWithHeld({ app, env, epoch, seq }: OrderPlace, state: NodeState): number {
  const { head } = appStateOf(state, app, env);
  return head === null ? 1 : compareSerials({ epoch, seq }, head);
}

function staleness(root: Root, state: NodeState, wish: Wish): readonly SkeinError[] {
  const stale: SkeinError[] = [];
  if (root.charter < state.charters.length) {
    const [has, known] = [root.charter, state.charters.length];
    stale.push(gone(`charter ${known} is known here, and the bucket has ${has}`, { has, known }));
  }
  for (const { app, env, head } of Object.values(state.apps)) {
    if (head === null || !wish(app, env)) continue;
    const name = orderIn(root, app, env);
    const place = name === undefined ? undefined : orderPlaceOf(name);
    if (place !== undefined && compareWithHeld(place, state) >= 0) continue;
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
