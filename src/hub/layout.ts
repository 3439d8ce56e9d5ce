/** Which processes of an order's release look up which (`after`), and where they run: read from the release itself. */
import { manifestOfTree } from "../app/conventions.ts";
import type { Manifest } from "../app/manifest.ts";
import { readerOfTree } from "../app/tree-manifest.ts";
import { isSkeinError } from "../lib/errors.ts";
import { Fetcher } from "../release/fetch.ts";
import type { PublishedTree } from "../release/published.ts";
import { loadTree } from "../release/tree-blobs.ts";
import { NO_LAYOUT, type Layout } from "../rollout/plan.ts";
import type { Order } from "../trust/documents.ts";
import { readUnverified } from "../trust/envelope.ts";
import { matches, parseSelector } from "../trust/selector.ts";
import type { Core } from "./core.ts";
import type { Nodes } from "./nodes.ts";
import type { Releases } from "./releases.ts";

/** Ordering a release again needs no reading of its rows, of which there may be many. */
const MANIFESTS_KEPT = 64;

interface LayoutParts {
  readonly core: Pick<Core, "depot" | "log" | "signal">;
  readonly nodes: Pick<Nodes, "identity">;
  readonly releases: Pick<Releases, "get">;
}

/**
 * A release that this hub's depot does not have (its nodes may fetch it elsewhere) is rolled out without an order
 * among its processes.
 */
export function layouts({ core, nodes, releases }: LayoutParts): (order: Order) => Promise<Layout> {
  const kept = new Map<string, Manifest>();
  const manifestOf = async ({ app, env }: Order, roots: PublishedTree): Promise<Manifest> => {
    const key = `${roots.tree} ${app} ${env}`;
    const known = kept.get(key);
    if (known !== undefined) return known;
    const loaded = await loadTree(new Fetcher([core.depot], core.signal), roots);
    const manifest = await manifestOfTree(readerOfTree(loaded), { app, env });
    kept.set(key, manifest);
    const [oldest] = kept.keys();
    if (kept.size > MANIFESTS_KEPT && oldest !== undefined) kept.delete(oldest);
    return manifest;
  };
  return async (order) => {
    const envelope = releases.get(order.app, order.release);
    if (envelope === undefined || order.state === "stopped") return NO_LAYOUT;
    const { tree, rows, since } = readUnverified(envelope, "release.1");
    try {
      return layoutOf(await manifestOf(order, { tree, rows, since }), nodes);
    } catch (err) {
      if (!isSkeinError(err)) throw err;
      core.log.warn("a release's manifest cannot be read here", {
        app: order.app,
        release: order.release,
        code: err.code,
      });
      return NO_LAYOUT;
    }
  };
}

function layoutOf({ processes }: Manifest, nodes: Pick<Nodes, "identity">): Layout {
  const all = Object.entries(processes);
  const after = Object.fromEntries(all.map(([name, process]) => [name, process.after]));
  const placed = all.map(([name, { on }]) => ({ name, selector: on === null ? null : parseSelector(on) }));
  return {
    after,
    processesOn: (node) => {
      const identity = nodes.identity(node);
      return placed
        .filter(
          ({ selector }) => selector === null || (identity !== undefined && matches(selector, identity)),
        )
        .map(({ name }) => name);
    },
  };
}
