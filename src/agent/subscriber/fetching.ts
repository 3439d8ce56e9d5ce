import { readSigned } from "../../bucket/entries.ts";
import { releaseName, releasePlace, releasePlaceOf, type ReleasePlace } from "../../bucket/layout.ts";
import { appIn, type Root } from "../../bucket/root.ts";
import type { DocumentStore } from "../../depot/seam/documents.ts";
import { isSkeinError, SkeinError, toSkeinError } from "../../lib/errors/errors.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import type { BytesBySource } from "../../release/install/install-progress.ts";
import type { Order } from "../../trust/document/documents.ts";
import { msOf } from "../../trust/document/fields.ts";
import { appStateOf, orderOf } from "../../trust/node/node-state.ts";
import { openRelease } from "../../trust/orders/orders.ts";
import type { OpenPackage } from "./open-package.ts";
import { lastSeen } from "./poll.ts";
import { prefetch } from "./prefetch.ts";

/** A release that is to be here, and whether its post-sync is to have run. */
interface Wanted {
  readonly id: ReleaseId;
  readonly hooks: boolean;
  /** Where its document is, if the order did not bring it. */
  readonly place: ReleasePlace | null;
}

export interface FetchTools {
  readonly documents: DocumentStore;
  readonly env: string;
  readonly signal: AbortSignal;
  /** Told where its bytes came from. */
  readonly onFetched: (id: ReleaseId, sources: BytesBySource) => void;
}

/**
 * Brings here what the package may be asked to jump to: what stands and what it may go back to, and what was spooled
 * since. A new machine fetches no history. One that fails does not keep the others.
 * @returns why some are not here whole
 */
export async function fetchWanted(
  open: OpenPackage,
  root: Root | null,
  tools: FetchTools,
): Promise<readonly SkeinError[]> {
  const troubles: SkeinError[] = [];
  for (const wanted of await wantedReleases(open, root, tools.env)) {
    try {
      if (!(await keepDocument(open, wanted, tools))) continue;
      const came = await prefetch(open, { ...wanted, env: tools.env }, tools.signal);
      if (came !== undefined) tools.onFetched(wanted.id, came);
    } catch (err) {
      tools.signal.throwIfAborted();
      troubles.push(toSkeinError(err));
    }
  }
  return troubles;
}

/** Has gc leave what the next sync would fetch again. @param root null: as it was read last */
export async function keepWanted(
  open: OpenPackage,
  root: Root | null,
  { documents, env }: Pick<FetchTools, "documents" | "env">,
): Promise<void> {
  const seen = root ?? (await lastSeen(open.place.folders.root, documents));
  open.keep((await wantedReleases(open, seen, env)).map(({ id }) => id));
}

/** Keeps a release's document, after it was checked. @returns whether there is one */
export async function keepDocument(
  { kept, store, context }: OpenPackage,
  { id, place }: Pick<Wanted, "id" | "place">,
  { documents, signal }: Pick<FetchTools, "documents" | "signal">,
): Promise<boolean> {
  if ((await kept.release(id)) !== undefined) return true;
  if (place === null) return false;
  const envelope = await readSigned(documents, releaseName(place), signal);
  if (envelope === undefined) return false; // purged since
  const opened = openRelease(store.state.charter, envelope, context.clock.now());
  if (opened.id !== id || opened.body.app !== place.app) {
    throw new SkeinError("ORDER_UNKNOWN_RELEASE", `the bucket shows another release for ${place.app}@${id}`, {
      data: { asked: id, found: opened.id },
    });
  }
  await kept.putRelease(id, envelope);
  return true;
}

/** What is to be here, each once. */
async function wantedReleases(open: OpenPackage, root: Root | null, env: string): Promise<readonly Wanted[]> {
  const { app } = open.place.package;
  const wanted: Wanted[] = [];
  const { head, standing } = appStateOf(open.store.state, app, env);
  const orders = [...new Set([head, standing])].flatMap((held) => (held === null ? [] : [orderOf(held)]));
  for (const order of orders) wanted.push(...ofOrder(order));
  const held = open.hold();
  if (held !== null) wanted.push({ id: held.release, hooks: true, place: null });
  const active = orders[0] === undefined ? "" : await stampOf(open, orders[0], env);
  for (const name of (root === null ? undefined : appIn(root, app))?.releases.newest ?? []) {
    const place = releasePlaceOf(name);
    if (place?.app === app && place.stamp > active) wanted.push({ id: place.id, hooks: true, place });
  }
  return wanted.filter(({ id }, n) => wanted.findIndex((one) => one.id === id) === n);
}

function ofOrder({ release, fallback, hooks, state }: Order): readonly Wanted[] {
  if (state === "stopped") return [];
  const own = { id: release, hooks: hooks === "run", place: null };
  return fallback === null ? [own] : [own, { id: fallback, hooks: hooks === "run", place: null }];
}

/** When the active release was made, as names tell it; empty where its document is not here. */
async function stampOf({ context, place }: OpenPackage, { release }: Order, env: string): Promise<string> {
  const name = { app: place.package.app, env };
  try {
    const { created } = await context.releases.document(name, release);
    return releasePlace(name.app, msOf(created), release).stamp;
  } catch (err) {
    if (isSkeinError(err)) return "";
    throw err;
  }
}
