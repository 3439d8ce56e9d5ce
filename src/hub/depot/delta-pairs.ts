/** Which deltas a hub may be asked for, and which it makes by itself. */
import type { ReleaseId, TreeId } from "../../lib/text/ids.ts";
import type { PublishedTree } from "../../release/tree/published.ts";
import type { Release } from "../../trust/document/documents.ts";
import { readUnverified } from "../../trust/document/envelope.ts";
import type { Orders } from "../orders/orders.ts";
import type { Presence } from "../cluster/presence.ts";
import type { Releases } from "../orders/releases.ts";

export interface PairParts {
  readonly releases: Pick<Releases, "list">;
  readonly orders: Pick<Orders, "appEnvs" | "head" | "standing" | "body">;
  readonly presence: Pick<Presence, "views">;
}

/** Trees that a new release is likely reached from. */
const MOST_FROM = 3;

const treeOf = ({ tree, rows, since }: Release): PublishedTree => ({ tree, rows, since });

/** Both releases, when they are of one app: nobody may have others compared. */
export function pairOf(
  { releases }: Pick<PairParts, "releases">,
  to: TreeId,
  from: TreeId,
): { readonly to: Release; readonly from: Release } | undefined {
  const documents = releases
    .list(undefined, Infinity)
    .map(({ release }) => readUnverified(release, "release.1"));
  for (const target of documents.filter(({ tree }) => tree === to)) {
    const source = documents.find(({ app, tree }) => app === target.app && tree === from);
    if (source !== undefined) return { to: target, from: source };
  }
  return undefined;
}

/**
 * What nodes will come from to a tree of an app: what they run, most of them first, then what was ordered or may be
 * gone back to, then the newest releases.
 */
export function likelyFrom(parts: PairParts, app: string, target: TreeId): PublishedTree[] {
  const views = parts.releases.list(app, Infinity);
  const byId = new Map(views.map(({ id, release }) => [id, readUnverified(release, "release.1")]));
  const wanted = [...runningOf(parts.presence, app), ...orderedOf(parts.orders, app), ...byId.keys()];
  const trees = new Map<TreeId, PublishedTree>();
  for (const id of wanted) {
    const release = byId.get(id);
    if (release === undefined || release.tree === target || trees.size >= MOST_FROM) continue;
    trees.set(release.tree, treeOf(release));
  }
  return [...trees.values()];
}

function runningOf(presence: PairParts["presence"], app: string): ReleaseId[] {
  const counts = new Map<ReleaseId, number>();
  for (const { apps } of presence.views()) {
    for (const { app: name, release } of apps) {
      if (name === app && release !== null) counts.set(release, (counts.get(release) ?? 0) + 1);
    }
  }
  return [...counts].sort(([, a], [, b]) => b - a).map(([id]) => id);
}

function orderedOf(orders: PairParts["orders"], app: string): ReleaseId[] {
  const places = orders.appEnvs().filter((place) => place.app === app);
  const records = places.flatMap((place) => [orders.head(place), orders.standing(place)]);
  return records.flatMap((record) => {
    if (record === undefined) return [];
    const { release, fallback } = orders.body(record);
    return fallback === null ? [release] : [release, fallback];
  });
}
