import { readCharters, readOrderEntry, type OrderEntry } from "../../bucket/entries.ts";
import { compareOrders, orderName, orderPlaceOf, type OrderPlace } from "../../bucket/layout.ts";
import { ordersOf } from "../../bucket/publish.ts";
import type { Root } from "../../bucket/root.ts";
import type { WantedApp } from "../../api/schemas.ts";
import type { DocumentStore } from "../../depot/documents.ts";
import { isSkeinError, SkeinError } from "../../lib/errors.ts";
import { rosterDigest } from "../../trust/documents.ts";
import { digestOfEnvelope, readUnverified, type Envelope } from "../../trust/envelope.ts";
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
  readonly signal: AbortSignal;
}

/** How far back an order is looked for where the newest ones are for other nodes. */
const READ_BACK = 20;

/**
 * Reads what the root leads to beyond what the node holds: nothing where it holds everything.
 * @throws SkeinError DOC_MALFORMED for a charter, and what the store throws
 */
export async function bucketOffer(
  documents: DocumentStore,
  root: Root,
  state: NodeState,
  { wish, passed, signal }: OfferOptions,
): Promise<BucketOffer> {
  const known = state.charters.length;
  const charters = await readCharters(documents, known, root.charter, signal);
  const apps: WantedApp[] = [];
  const troubles: SkeinError[] = [...staleness(root, state, wish)];
  const others: string[] = [];
  for (const name of newestOrders(root, wish)) {
    const place = orderPlaceOf(name);
    if (place === undefined || passed.has(name) || compareWithHeld(place, state) !== "newer") continue;
    try {
      const own = await newestFor(documents, place, state, signal);
      if (own !== undefined) apps.push(own.wanted);
      if (own?.name !== name) others.push(name);
    } catch (err) {
      if (!isSkeinError(err, "DOC_MALFORMED", "DOC_TOO_BIG", "DOC_WRONG_TYPE")) throw err;
      troubles.push(err);
    }
  }
  return { charters, apps, troubles, others };
}

/** The newest order of an app that names this node; a selector need not name the same nodes each time. */
async function newestFor(
  documents: DocumentStore,
  newest: OrderPlace,
  state: NodeState,
  signal: AbortSignal,
): Promise<{ readonly name: string; readonly wanted: WantedApp } | undefined> {
  let places: readonly OrderPlace[] = [newest];
  for (let n = 0; n < READ_BACK; n++) {
    const place = places.at(-1);
    if (place === undefined || compareWithHeld(place, state) !== "newer") return undefined;
    // Nothing there: it was withdrawn since, and the next root says so.
    const entry = await readOrderEntry(documents, orderName(place), signal);
    if (entry !== undefined && isFor(entry, state)) {
      return { name: orderName(place), wanted: wantedOf(place, entry) };
    }
    if (n === 0) places = await olderThan(newest, documents, signal);
    else places = places.slice(0, -1);
  }
  return undefined;
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

/**
 * What a bucket's order tells an agent: all that a hub would, but for a gate.
 * @throws SkeinError DOC_MALFORMED for an order of another app or environment: those have their own readers
 */
function wantedOf(place: OrderPlace, entry: OrderEntry): WantedApp {
  const { order, settle, roster, releases } = entry;
  const { app, env } = readUnverified(order, "order.1");
  if (app !== place.app || env !== place.env) {
    throw new SkeinError(
      "DOC_MALFORMED",
      `an order of ${app}/${env} lies among those of ${place.app}/${place.env}`,
      {
        data: { app, env },
      },
    );
  }
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
