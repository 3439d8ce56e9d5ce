import * as z from "zod";
import { SkeinError } from "../lib/errors/errors.ts";
import { digestOf } from "../lib/text/ids.ts";
import { appName, count, digest, envName } from "../trust/document/fields.ts";
import {
  charterVersionOf,
  compareOrders,
  orderName,
  orderPlaceOf,
  releaseName,
  releasePlaceOf,
  type OrderPlace,
  type ReleasePlace,
} from "./layout.ts";

/**
 * What a bucket's root says: which documents are current. It is unsigned and follows from the bucket's listing alone,
 * so that anyone may remake it, and one read of it tells a node that nothing changed, however many packages there are.
 * A root that lies can only delay: whatever it leads to is signed.
 */
const rootApp = z.strictObject({
  releases: z.strictObject({
    count,
    /** Over all names: another one means that releases came or went. */
    digest,
    /** The documents of the newest releases, newest first. */
    newest: z.array(z.string().max(400)).max(16),
  }),
  /** By environment: the newest order's document. */
  orders: z.record(envName, z.string().max(400)),
});
const rootSchema = z.strictObject({
  format: z.literal(1),
  /** The newest charter's version; 0: there is none. */
  charter: count,
  apps: z.record(appName, rootApp),
});
export type Root = Readonly<z.infer<typeof rootSchema>>;
export type RootApp = Root["apps"][string];

/** What a root says of an app. Its own entries alone: an app may be called like what every object has (`constructor`). */
export const appIn = ({ apps }: Root, app: string): RootApp | undefined =>
  Object.hasOwn(apps, app) ? apps[app] : undefined;

/** The name of the newest order's document. */
export function orderIn(root: Root, app: string, env: string): string | undefined {
  const orders = appIn(root, app)?.orders ?? {};
  return Object.hasOwn(orders, env) ? orders[env] : undefined;
}

/** How many releases that nobody ordered yet a node fetches ahead. */
const NEWEST = 3;

/** The root of a bucket that holds documents of these names. The order of names does not matter. */
export function rootOf(names: Iterable<string>): Root {
  let charter = 0;
  const releases = new Map<string, ReleasePlace[]>();
  const orders = new Map<string, Map<string, OrderPlace>>();
  for (const name of names) {
    charter = Math.max(charter, charterVersionOf(name) ?? 0);
    const release = releasePlaceOf(name);
    if (release !== undefined) entry(releases, release.app, () => []).push(release);
    const order = orderPlaceOf(name);
    if (order === undefined) continue;
    const byEnv = entry(orders, order.app, () => new Map<string, OrderPlace>());
    const before = byEnv.get(order.env);
    if (before === undefined || compareOrders(before, order) < 0) byEnv.set(order.env, order);
  }
  const apps = [...new Set([...releases.keys(), ...orders.keys()])].sort();
  const rows = apps.map((app) => [app, rootAppOf(releases.get(app) ?? [], orders.get(app))] as const);
  return { format: 1, charter, apps: Object.fromEntries(rows) };
}

export function rootText(root: Root): string {
  return `${JSON.stringify(root)}\n`;
}

/** @throws SkeinError DOC_MALFORMED */
export function parseRoot(bytes: Uint8Array): Root {
  try {
    return rootSchema.parse(JSON.parse(Buffer.from(bytes).toString("utf8")));
  } catch (cause) {
    throw new SkeinError("DOC_MALFORMED", "the bucket's root cannot be read", {
      cause,
      hint: "Whoever publishes next remakes it.",
    });
  }
}

function rootAppOf(
  releases: readonly ReleasePlace[],
  orders: ReadonlyMap<string, OrderPlace> | undefined,
): RootApp {
  const names = releases.map(releaseName).sort();
  const newest = names.toReversed().slice(0, NEWEST);
  const byEnv = [...(orders ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    releases: { count: names.length, digest: digestOf(names.join("\n")), newest },
    orders: Object.fromEntries(byEnv.map(([env, place]) => [env, orderName(place)])),
  };
}

function entry<T>(map: Map<string, T>, key: string, make: () => T): T {
  const found = map.get(key);
  if (found !== undefined) return found;
  const made = make();
  map.set(key, made);
  return made;
}
