/** Bounds what is kept of an app: the newest 100 orders with all that belongs to them, plus those standing anywhere. */
import type { Op } from "../../store/store.ts";
import { commit, type Core } from "../records/core.ts";
import { keys, type OrderRecord } from "../records/keys.ts";
import type { AppEnv, Orders } from "./orders.ts";

const KEPT = 100;
/** Each takes six operations at most; a store's transaction has 128. */
const AT_ONCE = 20;

export async function forgetOldOrders(core: Core, orders: Orders, place: AppEnv): Promise<void> {
  const log = orders.log(place);
  const standing = standingAnywhere(orders, log);
  const gone = log.slice(KEPT).filter((record) => !standing.has(record));
  if (gone.length === 0) return;
  const doomed = gone.slice(-AT_ONCE);
  const rosters = new Set(log.filter((one) => !doomed.includes(one)).map((one) => orders.body(one).roster));
  const ops = doomed.flatMap((record) => opsFor(record, place));
  const unused = new Set(
    doomed.map((one) => orders.body(one).roster).filter((roster) => !rosters.has(roster)),
  );
  await commit(
    core,
    [],
    [...ops, ...[...unused].map((roster) => ({ op: "delete", key: keys.roster(roster) }) as const)],
  );
}

/**
 * Nodes are told apart by selectors only: per selector the newest order and the newest settled one can be some node's
 * head or standing.
 */
function standingAnywhere(orders: Orders, newestFirst: readonly OrderRecord[]): ReadonlySet<OrderRecord> {
  const kept = new Map<string, OrderRecord>();
  for (const record of newestFirst) {
    const { selector } = orders.body(record);
    const stands = orders.settle(record.digest)?.published === true;
    for (const key of [`head ${selector}`, ...(stands ? [`standing ${selector}`] : [])]) {
      if (!kept.has(key)) kept.set(key, record);
    }
  }
  return new Set(kept.values());
}

function opsFor(record: OrderRecord, { app, env }: AppEnv): Op[] {
  const { digest } = record;
  return [
    { op: "delete", key: keys.logged(app, env, record) },
    { op: "delete", key: keys.settle(digest) },
    { op: "delete", key: keys.rollout(digest) },
    { op: "delete", key: keys.plan(digest) },
    { op: "deletePrefix", prefix: keys.receipts(digest) },
  ];
}
