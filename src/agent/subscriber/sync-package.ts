import { revisionOf, releasePlace } from "../../bucket/layout.ts";
import type { Seen } from "../../bucket/looking.ts";
import { isSkeinError, SkeinError, toSkeinError } from "../../lib/errors/errors.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import { sourcesText } from "../../lib/text/units.ts";
import { addSources, type BytesBySource } from "../../release/install/install-progress.ts";
import { msOf } from "../../trust/document/fields.ts";
import { appStateOf, orderOf } from "../../trust/node/node-state.ts";
import { bucketOffer, type BucketOffer, type OfferOptions } from "../source/bucket-offer.ts";
import { readCurrent } from "../installs/folders.ts";
import { isSynced } from "../installs/synced.ts";
import { unpacedStartMs } from "../plan/goal.ts";
import { isHeld, settled } from "../plan/hold.ts";
import type { Goal } from "../plan/plan.ts";
import type { AppRecord } from "../plan/records.ts";
import { takeIn } from "../node/intake.ts";
import { fetchWanted, keepWanted } from "./fetching.ts";
import { openPackage, type OpenPackage, type SubscriberTools } from "./open-package.ts";
import { poll } from "./poll.ts";
import type { PackagePlace } from "./package-place.ts";
import { keepLooked, lookedBefore } from "./orders-looked-at.ts";
import { recordOf, returnData } from "./prefetch.ts";
import { removeGone } from "./removing.ts";
import { takeTurn } from "./turn.ts";

export interface SyncTools extends SubscriberTools {
  /** Longest wait for whoever works on a package, in ms. */
  readonly waitMs: number;
  /** A bucket from which nothing newer came for so long may be an old copy; null: however long. In ms. */
  readonly maxAgeMs: number | null;
  /** Told what is done, for people. */
  readonly say: (line: string) => void;
}

/** What a sync of one package came to. */
export interface PackageResult {
  readonly package: string;
  /** REV of what is active; null: nothing. */
  readonly active: string | null;
  /** Another one was active before. */
  readonly changed: boolean;
  /** A person's jump here stands against the newest order: its REV. */
  readonly held: string | null;
  /** When the order that waits for its moment is begun, in ms since the epoch; null: none waits. */
  readonly startsMs: number | null;
  /** Something that was to be done is still to be done: look again. */
  readonly isDone: boolean;
  /** Where the bytes came from that were fetched or found here for it. */
  readonly sources: BytesBySource;
  /** Everything that went wrong, in order. */
  readonly troubles: readonly SkeinError[];
}

/**
 * Brings one package to what the bucket says: takes in what is new, fetches it, jumps, and removes what is gone. Where
 * the bucket does not answer (`seen` null), what this machine knows already is still brought about.
 * Never throws but when `signal` aborts: a package that fails holds up no other.
 */
export async function syncPackage(
  place: PackagePlace,
  seen: Seen | null,
  tools: SyncTools,
): Promise<PackageResult> {
  const { signal, clock, waitMs } = tools;
  try {
    using _turn = await takeTurn(place, { command: "sync", waitMs, clock, signal });
    const open = await openPackage(place, seen?.root ?? null, tools);
    const was = await readCurrent(place.folders);
    const { troubles, sources } = await bringAbout(open, seen, tools);
    return {
      ...(await resultOf(open, troubles, tools)),
      sources,
      changed: was !== (await readCurrent(place.folders)),
    };
  } catch (err) {
    signal.throwIfAborted();
    const nothing = { active: null, changed: false, held: null, startsMs: null, isDone: false, sources: {} };
    // Where the bucket did not answer, that alone is why nothing of a new package is here.
    const isAsked = seen !== null || !isSkeinError(err, "NOT_FOUND");
    return { package: place.package.name, ...nothing, troubles: isAsked ? [toSkeinError(err)] : [] };
  }
}

async function bringAbout(
  open: OpenPackage,
  seen: Seen | null,
  tools: SyncTools,
): Promise<Pick<PackageResult, "troubles" | "sources">> {
  const { bucket, env, signal } = tools;
  const root = seen?.root ?? null;
  const troubles: SkeinError[] = [];
  // A bucket may fail at any moment: what is known is brought about all the same, and what was done is told.
  const trouble = (err: unknown): void => {
    signal.throwIfAborted();
    troubles.push(toSkeinError(err));
  };
  if (seen !== null) troubles.push(...((await takeInFrom(seen, open, tools).catch(trouble)) ?? []));
  await endHold(open, tools);
  let sources: BytesBySource = {};
  const onFetched = (id: ReleaseId, came: BytesBySource): void => {
    sources = addSources(sources, came);
    tools.say(fetchedText(open.place, id, came));
  };
  await keepWanted(open, root, { documents: bucket.documents, env });
  const fetched = await fetchWanted(open, root, { documents: bucket.documents, env, signal, onFetched });
  troubles.push(...fetched);
  faultPoint("subscriber.ready");
  if (await mayConverge(open, env)) {
    await open.worker.converge(signal);
    faultPoint("subscriber.converged");
  }
  await returnData(open, env, signal).catch(trouble);
  await settleHold(open, env);
  if (root !== null)
    await removeGone(open, root, { documents: bucket.documents, env, signal }).catch(trouble);
  return { troubles, sources };
}

export const fetchedText = (place: PackagePlace, id: ReleaseId, sources: BytesBySource): string =>
  `${place.package.name}: fetched ${id.slice(0, 8)}${sourcesText(sources)}`;

async function takeInFrom(seen: Seen, open: OpenPackage, tools: SyncTools): Promise<readonly SkeinError[]> {
  const { store, kept, context, identity, place } = open;
  const wish = (app: string, env: string): boolean => app === place.package.app && env === tools.env;
  const now = { now: tools.clock.now(), self: context.signer.kid };
  // Who this machine is decides which orders are for it.
  if (store.state.identity === null && identity !== null) {
    await takeIn({ charters: [], apps: [], identity }, store, kept, now);
  }
  const looked = await lookedBefore(open);
  const look = { wish, looked, now: now.now, signal: tools.signal };
  const offer = await offerNow(seen, open, tools, look);
  const offered = { charters: offer.charters, apps: offer.apps, identity, lastReceipts: [] };
  const refusals = await takeIn(offered, store, kept, now);
  faultPoint("subscriber.taken-in");
  await keepLooked(open, offer.looked);
  for (const [name, { order, isForOthers }] of Object.entries(offer.looked)) {
    if (isForOthers && looked[name]?.order !== order)
      tools.say(`${place.package.name}: the newest order is for other machines`);
  }
  return [
    ...offer.troubles,
    ...frozen(open, tools),
    ...refusals.map(({ type, code, message }) => new SkeinError(code, `${type} refused: ${message}`)),
  ];
}

/**
 * What is known here by now may be newer than what was seen: another sync took it in before this one had its turn. Then
 * the bucket is looked at again before it is said to have been set back.
 */
async function offerNow(
  seen: Seen,
  { store, place }: OpenPackage,
  { bucket: { documents }, clock, signal }: SyncTools,
  look: OfferOptions,
): Promise<BucketOffer> {
  const offer = await bucketOffer(documents, seen, store.state, look);
  if (!isSetBack(offer)) return offer;
  const again = await poll(place.folders.root, documents, clock, signal);
  return await bucketOffer(documents, again, store.state, look);
}

const isSetBack = ({ troubles }: BucketOffer): boolean =>
  troubles.some((trouble) => isSkeinError(trouble, "BUCKET_STALE"));

/** Whoever shows an old copy for ever can forge no newer document; only its age tells. */
function frozen({ store, place }: OpenPackage, { maxAgeMs, clock, env }: SyncTools): readonly SkeinError[] {
  const { head } = appStateOf(store.state, place.package.app, env);
  const newest = head === null ? store.state.clock : msOf(orderOf(head).issued);
  const ageMs = clock.now() - newest;
  if (maxAgeMs === null || ageMs <= maxAgeMs) return [];
  const text = `nothing was signed for ${place.package.name} since ${new Date(newest).toISOString()}; the bucket may be an old copy`;
  const hint = `If nothing was to change, sign it again: skein ftl jump --master --again ${place.package.name}.REVISION`;
  return [new SkeinError("BUCKET_STALE", text, { hint, data: { newest, ageMs } })];
}

/** A newer order ends what a person asked for here. */
async function endHold(open: OpenPackage, { say }: SyncTools): Promise<void> {
  const hold = open.hold();
  if (hold === null || isHeld(hold, open.place.package.app, open.store.state)) return;
  await open.setHold(null);
  say(`${open.place.package.name}: a newer order came; the jump of ${hold.at} does not count any more`);
}

/** A jump that was cut, and failed when it was gone on with, gives way to what it was to take the place of. */
async function settleHold(open: OpenPackage, env: string): Promise<void> {
  const hold = open.hold();
  const counts = settled(hold, recordOf(open, env), open.store.state);
  if (counts !== hold) await open.setHold(counts);
}

/**
 * What is wanted must be here whole, with its post-sync done, before anything is switched: what is missing is fetched
 * at the next sync, and no order has failed because of it.
 */
async function mayConverge({ worker, context, place, ...open }: OpenPackage, env: string): Promise<boolean> {
  const record = recordOf({ worker, context, place, ...open }, env);
  const goal = worker.goal();
  if (record.attempt !== null || goal === null || goal.release === null) return true;
  if (record.reached?.release === goal.release) return true;
  const isHere = await context.releases.isInstalled(place.package.app, goal.release);
  return isHere && (!goal.hooks || goal.state === "stopped" || isSynced(context, record, goal.release));
}

async function resultOf(
  open: OpenPackage,
  before: readonly SkeinError[],
  { env, say }: SyncTools,
): Promise<Omit<PackageResult, "changed" | "sources">> {
  const { name } = open.place.package;
  const record = recordOf(open, env);
  const hold = open.hold();
  const troubles = [...before, ...open.failures.map(failureOf), ...(await failedOrder(open, env))];
  const active = await readCurrent(open.place.folders);
  const goal = open.worker.goal();
  const held = hold === null ? null : await revisionText(open, hold.release, env);
  if (held !== null) say(`${name}: held at ${name}.${held} by a jump on this machine, until a newer order`);
  return {
    package: name,
    active: active === null ? null : await revisionText(open, active, env),
    held,
    startsMs: goal !== null && !goal.go ? startOf(open, env) : null,
    isDone: before.length === 0 && isAt(goal, record),
    troubles,
  };
}

/** Has it come to all that is wanted of it? What failed here bears the order's name, too, where it went back. */
function isAt(goal: Goal | null, { reached, attempt }: AppRecord): boolean {
  if (goal === null) return true;
  return attempt === null && reached?.order === goal.order && reached.release === goal.release;
}

/** How people call an installed release. */
export async function revisionText(
  { context, place }: OpenPackage,
  id: ReleaseId,
  env: string,
): Promise<string> {
  const { app } = place.package;
  const { created } = await context.releases.document({ app, env }, id);
  return revisionOf(releasePlace(app, msOf(created), id));
}

function failureOf({ step, code, message, lines }: OpenPackage["failures"][number]): SkeinError {
  return new SkeinError(code, message, { data: { stage: step, lines } });
}

/** The newest order failed here, at this sync or before: what is wanted is not what is active. */
async function failedOrder(open: OpenPackage, env: string): Promise<readonly SkeinError[]> {
  const { head } = appStateOf(open.store.state, open.place.package.app, env);
  const hold = open.hold();
  if (head?.progress !== "undone" || hold !== null) return [];
  const { name } = open.place.package;
  const wanted = orderOf(head).release;
  const text = `order ${head.seq} failed here and was undone; ${name}@${wanted.slice(0, 8)} is not active`;
  return [
    new SkeinError("DEPLOY_FAILED", text, {
      hint: `Try it again here with skein ftl jump ${name}@${wanted.slice(0, 8)}, or order another revision.`,
    }),
  ];
}

function startOf({ store, place, context }: OpenPackage, env: string): number | null {
  const { head } = appStateOf(store.state, place.package.app, env);
  if (head === null) return null;
  const { strategy, issued } = orderOf(head);
  return unpacedStartMs(context.signer.kid, head.digest, msOf(issued), strategy.spreadMs);
}
