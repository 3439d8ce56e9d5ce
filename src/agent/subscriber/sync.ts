import path from "node:path";
import type { Package } from "../../bucket/layout.ts";
import type { Seen } from "../../bucket/looking.ts";
import type { Root } from "../../bucket/root.ts";
import { toSkeinError, type SkeinError } from "../../lib/errors/errors.ts";
import { retryDelayMs } from "../../lib/time/retry.ts";
import { subscriptions, type PackagePlace } from "./package-place.ts";
import { poll } from "./poll.ts";
import { syncPackage, type PackageResult, type SyncTools } from "./sync-package.ts";

/** What one sync came to. */
export interface SyncResult {
  readonly packages: readonly PackageResult[];
  /** Why the bucket could not be read, if so. */
  readonly unread: SkeinError | null;
  /** Nothing is left to be done before the bucket changes. */
  readonly isDone: boolean;
}

const AT_ONCE = 4;

/** Brings every package of a root to what the bucket says. @throws SkeinError NOT_FOUND when there is no root */
export async function sync(root: string, tools: SyncTools): Promise<SyncResult> {
  const { places, strange, doubles } = await subscriptions(root);
  for (const name of strange) tools.say(`${name}: no package can be called that; the folder is left alone`);
  for (const { name, of } of doubles)
    tools.say(`${name}: leads to the folder of ${of}, and a folder is one package's; the link is left alone`);
  if (places.length === 0)
    tools.say(`this machine subscribes to nothing yet: mkdir ${path.join(root, "PACKAGE")}`);
  const { signal, clock, bucket } = tools;
  let seen: Seen | null = null;
  let unread: SkeinError | null = null;
  try {
    seen = await poll(root, bucket.documents, clock, signal);
  } catch (err) {
    signal.throwIfAborted();
    unread = toSkeinError(err);
  }
  if (seen !== null) for (const { package: one } of places) tellUnknown(one, seen.root, tools);
  const packages = await eachOf(places, async (place) => await syncPackage(place, seen, tools));
  return { packages, unread, isDone: unread === null && packages.every(({ isDone }) => isDone) };
}

/** A folder's name may be mistyped; or somebody is yet to spool it. */
function tellUnknown({ name, app }: Package, { apps }: Root, { say, bucket }: SyncTools): void {
  if (!Object.hasOwn(apps, app)) say(`${name}: nothing was spooled to ${bucket.name} by that name yet`);
}

/**
 * Syncs again and again, each time some part of `everyMs` away, until the signal aborts. While the bucket has nothing
 * new and nothing is due here, a turn is one conditional request.
 */
export async function syncForever(
  root: string,
  everyMs: number,
  tools: SyncTools,
  onResult: (result: SyncResult) => void,
): Promise<void> {
  const { signal, clock, bucket } = tools;
  let failures = 0;
  let [lookedMs, dueMs] = [0, 0];
  while (!signal.aborted) {
    const polled = await poll(root, bucket.documents, clock, signal).catch(() => undefined);
    const now = clock.now();
    // Where the clock was set back nobody knows what is due.
    if (polled?.isSame === false || now >= dueMs || now < lookedMs) {
      const result = await sync(root, tools).catch((err: unknown) => {
        if (signal.aborted) return undefined;
        throw err;
      });
      if (result === undefined) return;
      failures = result.isDone ? 0 : failures + 1;
      lookedMs = clock.now();
      dueMs = dueAfter(result, failures, { now: lookedMs, everyMs, random: Math.random });
      onResult(result);
    }
    await clock.sleep(everyMs * (0.75 + Math.random() / 2), signal).catch(() => undefined);
  }
}

/** How often packages are looked at although nothing is new: a lost `current` is mended then, a new folder filled. */
const UPKEEP_MS = 5 * 60_000;

/**
 * When packages are to be looked at again although the bucket stays as it is, in ms since the epoch. What failed is
 * tried again ever more seldom; an order that waits for its moment is begun at it.
 */
export function dueAfter(
  { isDone, packages }: SyncResult,
  failures: number,
  { now, everyMs, random }: { readonly now: number; readonly everyMs: number; readonly random: () => number },
): number {
  const again = isDone ? UPKEEP_MS : retryDelayMs(failures, { baseMs: everyMs, maxMs: UPKEEP_MS, random });
  const starts = packages.flatMap(({ startsMs }) => startsMs ?? []);
  return Math.min(now + again, ...starts.map((ms) => Math.max(ms, now)));
}

async function eachOf<T>(
  places: readonly PackagePlace[],
  act: (place: PackagePlace) => Promise<T>,
): Promise<readonly T[]> {
  const done: T[] = [];
  const waiting = places.entries();
  const lane = async (): Promise<void> => {
    for (const [n, place] of waiting) done[n] = await act(place);
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, places.length) }, lane));
  return done;
}
