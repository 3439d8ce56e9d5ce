/** Which processes of an order's release look up which (`after`), and where they run: read from the release itself. */
import type { Manifest } from "../../app/manifest.ts";
import type { DepotReader } from "../../depot/seam/depot.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";
import { keepNewest } from "../../lib/memory/keep-newest.ts";
import type { AppEnv } from "../../lib/text/ids.ts";
import { NO_LAYOUT, type Layout } from "../../rollout/plan.ts";
import type { Order, Release } from "../../trust/document/documents.ts";
import { readUnverified } from "../../trust/document/envelope.ts";
import { matches, parseSelector } from "../../trust/document/selector.ts";
import type { Core } from "../records/core.ts";
import type { Nodes } from "../cluster/nodes.ts";
import type { Orders } from "../orders/orders.ts";
import type { Releases } from "../orders/releases.ts";

/** Ordering a release again needs no reading of its rows, of which there may be many. */
const MANIFESTS_KEPT = 64;
/** Where an app is ordered for the first time. */
const FIRST_ENV = "default";

interface LayoutParts {
  readonly core: Pick<Core, "log" | "signal"> & { readonly depot: DepotReader };
  readonly nodes: Pick<Nodes, "identity">;
  readonly releases: Pick<Releases, "get">;
  readonly orders: Pick<Orders, "appEnvs">;
}

/** What a manifest is read for: the environment decides what it says. */
export class Layouts {
  readonly #parts: LayoutParts;
  /** By tree, app and environment: read, or being read. What cannot be read is not kept. */
  readonly #kept = new Map<string, Promise<Manifest>>();

  constructor(parts: LayoutParts) {
    this.#parts = parts;
  }

  /**
   * A release was published: begins to read it for the environments that its app was ordered in, so that its order
   * need not wait for that. Whoever orders it is told of what cannot be read.
   */
  expect(release: Release): void {
    const { app } = release;
    const known = this.#parts.orders.appEnvs().filter((place) => place.app === app);
    for (const { env } of known.length > 0 ? known : [{ env: FIRST_ENV }]) {
      this.#manifest(release, { app, env }).catch(() => undefined);
    }
  }

  /**
   * A release that this hub's depot does not have (its nodes may fetch it elsewhere) is rolled out without an order
   * among its processes.
   */
  readonly of = async (order: Order): Promise<Layout> => {
    const { core, nodes, releases } = this.#parts;
    const envelope = releases.get(order.app, order.release);
    if (envelope === undefined || order.state === "stopped") return NO_LAYOUT;
    try {
      return layoutOf(await this.#manifest(readUnverified(envelope, "release.1"), order), nodes);
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

  // Private

  #manifest(release: Release, { app, env }: AppEnv): Promise<Manifest> {
    const key = `${release.tree} ${app} ${env}`;
    const known = this.#kept.get(key);
    if (known !== undefined) return known;
    const reading = this.#read(release, { app, env });
    keepNewest(this.#kept, MANIFESTS_KEPT, key, reading);
    reading.catch(() => {
      if (this.#kept.get(key) === reading) this.#kept.delete(key);
    });
    return reading;
  }

  async #read({ tree, rows, since }: Release, place: AppEnv): Promise<Manifest> {
    const { depot, signal } = this.#parts.core;
    // It takes a YAML parser: loaded with the first release, so that an idle hub stays small.
    const [{ manifestOfTree }, { readerOfTree }, { Fetcher }, { loadTree }] = await Promise.all([
      import("../../app/conventions.ts"),
      import("../../app/tree-readers.ts"),
      import("../../release/fetch/fetcher.ts"),
      import("../../release/fetch/tree-blobs.ts"),
    ]);
    const loaded = await loadTree(new Fetcher([depot], signal), { tree, rows, since });
    return await manifestOfTree(readerOfTree(loaded), place);
  }
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
