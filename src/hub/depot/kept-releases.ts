import type { PublishedTree } from "../../release/tree/published.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import type { Order } from "../../trust/document/documents.ts";
import { readUnverified } from "../../trust/document/envelope.ts";
import type { Commands } from "../commands/commands.ts";
import type { OrderRecord } from "../records/keys.ts";
import type { Orders } from "../orders/orders.ts";
import type { Releases } from "../orders/releases.ts";

export interface KeepPolicy {
  /** Per app and environment: what its newest orders name, fallbacks and releases beside included. */
  readonly orders: number;
  /** Per app: the newest releases, ordered or not. */
  readonly releases: number;
}

export const KEEP: KeepPolicy = { orders: 20, releases: 20 };

export interface KeptParts {
  readonly orders: Pick<Orders, "appEnvs" | "log" | "body" | "settle">;
  readonly releases: Pick<Releases, "get" | "list">;
  readonly commands: Pick<Commands, "releases">;
}

/**
 * The trees that the hub's depot must hold: of what some node may still come to (the newest order of each selector and
 * the newest that stands, however old), of the newest orders, of the newest releases, and of what is being staged. Others stay known by their
 * documents; deploying one of them publishes it again.
 */
export function* keptReleases(parts: KeptParts, policy: KeepPolicy = KEEP): Generator<PublishedTree, void> {
  const { orders, releases, commands } = parts;
  for (const { app, release } of commands.releases()) {
    const envelope = releases.get(app, release);
    if (envelope !== undefined) yield readUnverified(envelope, "release.1");
  }
  for (const place of orders.appEnvs()) {
    const log = orders.log(place);
    const records = new Set([...log.slice(0, policy.orders), ...reachable(orders, log)]);
    const ids = new Set([...records].flatMap((record) => namedBy(orders.body(record))));
    for (const id of ids) {
      const envelope = releases.get(place.app, id);
      if (envelope !== undefined) yield readUnverified(envelope, "release.1");
    }
  }
  const seen = new Map<string, number>();
  for (const view of releases.list(undefined, Infinity)) {
    const n = (seen.get(view.app) ?? 0) + 1;
    seen.set(view.app, n);
    if (n <= policy.releases) yield readUnverified(view.release, "release.1");
  }
}

function namedBy({ release, fallback, beside }: Order): ReleaseId[] {
  return [release, ...(fallback === null ? [] : [fallback]), ...beside];
}

/** Nodes are told apart by selectors only. @param log newest first */
function* reachable(orders: KeptParts["orders"], log: readonly OrderRecord[]): Generator<OrderRecord, void> {
  const seen = new Set<string>();
  for (const record of log) {
    const { selector } = orders.body(record);
    const stands = orders.settle(record.digest)?.published === true;
    for (const key of [`head ${selector}`, ...(stands ? [`standing ${selector}`] : [])]) {
      if (seen.has(key)) continue;
      seen.add(key);
      yield record;
    }
  }
}
