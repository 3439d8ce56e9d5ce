/** Forgets old orders with all that belongs to them, so that the store stays small however often one deploys. */
import { faultPoint } from "../../lib/process/fault.ts";
import type { Digest, AppEnv } from "../../lib/text/ids.ts";
import type { Compare, Op } from "../../store/store.ts";
import { unchanged, type Core } from "../records/core.ts";
import { keys, type OrderRecord } from "../records/keys.ts";
import type { Orders } from "./orders.ts";

interface PruneParts {
  readonly core: Pick<Core, "store" | "mirror">;
  readonly orders: Pick<Orders, "appEnvs" | "log" | "body">;
}

/** Orders kept per app and environment, beside those that nodes may still come to. */
const ORDERS_KEPT = 100;

/** @param needed orders that nodes may still come to */
export async function pruneOrders(
  parts: PruneParts,
  needed: ReadonlyMap<Digest, OrderRecord>,
  kept: number = ORDERS_KEPT,
): Promise<void> {
  for (const place of parts.orders.appEnvs()) {
    const old = parts.orders.log(place).slice(kept);
    for (const record of old) if (!needed.has(record.digest)) await forget(parts, place, record);
  }
}

/** In one transaction: half of an order is of no use to anybody. Whoever lost a race is forgotten the next time. */
async function forget(parts: PruneParts, place: AppEnv, record: OrderRecord): Promise<void> {
  const { store, mirror } = parts.core;
  const key = keys.logged(place.app, place.env, record);
  const roster = await lastUse(parts, record);
  faultPoint("hub.prune");
  const { revision } = await store.txn({
    compare: [unchanged(key, mirror.entry(key).modRevision), ...roster.compare],
    then: [
      { op: "delete", key },
      { op: "delete", key: keys.settle(record.digest) },
      { op: "deletePrefix", prefix: keys.receipts(record.digest) },
      { op: "delete", key: keys.rollout(record.digest) },
      { op: "delete", key: keys.plan(record.digest) },
      ...roster.then,
    ],
  });
  await mirror.reached(revision);
}

/**
 * Orders to the same nodes share a roster. Whoever publishes an order puts its roster again, so a roster that was
 * not put since it was looked at, and that no other order names, is nobody's.
 */
async function lastUse(
  { core, orders }: PruneParts,
  record: OrderRecord,
): Promise<{ readonly compare: Compare[]; readonly then: Op[] }> {
  const { roster } = orders.body(record);
  const key = keys.roster(roster);
  const modRevision = (await core.store.get(key))?.modRevision ?? 0;
  await core.mirror.reached(modRevision);
  const others = orders.appEnvs().flatMap((place) => orders.log(place));
  const shared = others.some((other) => other !== record && orders.body(other).roster === roster);
  return shared
    ? { compare: [], then: [] }
    : { compare: [unchanged(key, modRevision)], then: [{ op: "delete", key }] };
}
