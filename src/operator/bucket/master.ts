import { DEFAULTS } from "../../app/defaults.ts";
import type { Bucket } from "../../bucket/bucket.ts";
import {
  orderPlaceOf,
  ORDERS,
  packageOfFile,
  releasePlace,
  releasePlaceOf,
  revisionOf,
  type Package,
  type ReleasePlace,
  type RevisionWord,
} from "../../bucket/layout.ts";
import { namesUnder, readSigned, type OrderEntry } from "../../bucket/entries.ts";
import { VOID } from "../../bucket/following.ts";
import { publishRelease, withdrawRelease } from "../../bucket/publish.ts";
import type { Root } from "../../bucket/root.ts";
import type { Clock } from "../../lib/time/clock.ts";
import { fewAtOnce } from "../../lib/async/few-at-once.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import type { ReleaseId, AppEnv } from "../../lib/text/ids.ts";
import { releaseIdOf, type Charter, type Order } from "../../trust/document/documents.ts";
import { readUnverified, type Envelope } from "../../trust/document/envelope.ts";
import { msOf } from "../../trust/document/fields.ts";
import { releaseOf } from "../../trust/orders/orders.ts";
import { announce } from "../tell/dry-run.ts";
import { APPLY_WITHIN_MS, selectorOf, type HeldOrder } from "../order/order.ts";
import { ordersBack, readBucketLine } from "./bucket-line.ts";
import { deliverEarlier, lineAndLost, lineOf, orderInBucket, type BucketIntent } from "./bucket-order.ts";
import { publishTools, type BucketOperator } from "./bucket-operator.ts";
import { meantRelease, releasePlaces, type BucketRelease } from "./bucket-releases.ts";
import { hasFtlRevision, removeFtlRevision, writeFtlActive } from "./ftl-layout.ts";

/** What FTL calls the master: what the bucket says of a package, for all machines. */
export interface MasterRevision {
  readonly revision: string;
  readonly release: ReleaseId;
  readonly state: "active" | "previous" | null;
}

export interface MasterOptions {
  readonly bucket: Bucket;
  readonly charter: Charter;
  readonly env: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** The packages in a bucket, sorted, each as the file was called that its newest release was made of. */
export async function masterPackages(
  { documents }: Pick<Bucket, "documents">,
  root: Root,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const names = await fewAtOnce(Object.entries(root.apps), async ([app, { releases }]) => {
    const [newest] = releases.newest;
    const isPlace = newest !== undefined && releasePlaceOf(newest)?.app === app;
    const document = isPlace ? await readSigned(documents, newest, signal).catch(ifNone) : undefined;
    return document === undefined ? app : packageOf(app, document);
  });
  return names.sort();
}

/** A document that cannot be one, whoever put it there. */
function ifNone(err: unknown): undefined {
  if (!isSkeinError(err, ...VOID)) throw err;
}

/** Nobody's signature is asked for: a name that is not the app's is not shown, and more than its spelling no one could bend. */
function packageOf(app: string, document: Envelope): string {
  try {
    const named = packageOfFile(readUnverified(document, "release.1").source.name);
    return named.app === app ? named.name : app;
  } catch (err) {
    if (isSkeinError(err)) return app;
    throw err;
  }
}

/** A package's revisions, oldest first. Reads, and writes nothing. */
export async function masterRevisions(
  app: string,
  options: MasterOptions,
): Promise<readonly MasterRevision[]> {
  const { bucket, charter, env, clock, signal } = options;
  const line = await readBucketLine(app, env, { bucket, charter, now: clock.now(), signal });
  const { active, previous } = inForce(line.whole);
  const places = await releasePlaces(bucket, app, signal);
  return places.map((place) => ({
    revision: revisionOf(place),
    release: place.id,
    state: place.id === active ? "active" : place.id === previous ? "previous" : null,
  }));
}

export interface Jumped {
  readonly app: string;
  readonly revision: string;
  readonly release: ReleaseId;
  /** The serial of the order; null: it was active already, and nothing was ordered. */
  readonly seq: number | null;
  readonly spreadMs: number;
}

export interface JumpOptions {
  readonly env: string;
  /** null: that of the order before, else all. */
  readonly selector: string | null;
  /** Machines begin within this time, each at its own moment, in ms. 0: at their next sync. */
  readonly spreadMs: number;
  /** Signs it anew though it is active already: machines see that the bucket is no old copy. Default: no. */
  readonly again?: boolean;
  readonly signal: AbortSignal;
}

/**
 * Orders a revision for all machines, signed with the operator's key.
 * @throws SkeinError RELEASE_NOT_FOUND, AMBIGUOUS, NOT_AUTHORISED, HEAD_MOVED
 */
export async function jumpMaster(
  operator: BucketOperator,
  word: RevisionWord,
  options: JumpOptions,
): Promise<Jumped> {
  const { app, name } = word.package;
  const found = await meantRelease(operator, { app, name, revision: word.revision }, options.signal);
  return await order(operator, found, options);
}

/**
 * Orders what was active before; once more, and it is as it was. Scripts run as in any jump.
 * @throws SkeinError RELEASE_NOT_FOUND when there was nothing else before
 */
export async function jumpBackMaster(
  operator: BucketOperator,
  { app, name }: Package,
  options: JumpOptions,
): Promise<Jumped> {
  const { charter, bucket, clock } = operator;
  const { env, signal } = options;
  let active: ReleaseId | undefined;
  for await (const found of ordersBack(app, env, { bucket, charter, now: clock.now(), signal })) {
    active ??= found.order.release;
    if (found.order.release !== active) return await order(operator, ordered(operator, found), options);
  }
  throw new SkeinError("RELEASE_NOT_FOUND", `no other revision of ${name} was ordered before`, {
    hint: `Name one: skein ftl jump --master ${name}.REVISION`,
    data: { package: name },
  });
}

/**
 * Removes a revision from the bucket, and with their next sync from all machines.
 * @throws SkeinError REVISION_ACTIVE where it is what machines run or may go back to
 */
export async function purgeMaster(
  operator: BucketOperator,
  word: RevisionWord,
  { env, signal }: Pick<JumpOptions, "env" | "signal">,
): Promise<ReleasePlace> {
  const { app, name } = word.package;
  const found = await meantRelease(operator, { app, name, revision: word.revision }, signal);
  const { place, release, envelope } = found;
  const asked = { name, place, env };
  const needed = await whyNeeded(operator, asked, signal);
  if (needed !== undefined) throw needed;
  announce(operator, () => ({
    text: `${name}.${revisionOf(place)} would go from the bucket, and from machines at their next sync`,
    data: { deed: "purge", package: name, revision: revisionOf(place), release: place.id },
  }));
  const tools = publishTools(operator, signal);
  for (const one of await releasePlaces(operator.bucket, app, signal)) {
    if (one.id === place.id) await withdrawRelease(one, tools);
  }
  // Whoever ordered it meanwhile had still found it.
  const ordered = await whyNeeded(operator, asked, signal);
  if (ordered !== undefined) {
    await publishRelease(place, envelope, tools);
    throw ordered;
  }
  await removeFtlRevision(operator.bucket.files, release, revisionOf(place), signal);
  return place;
}

/** What stands in the way of a purge: some machine may be at the revision, or go back to it. */
async function whyNeeded(
  operator: BucketOperator,
  { name, place, env }: { readonly name: string; readonly place: ReleasePlace; readonly env: string },
  signal: AbortSignal,
): Promise<SkeinError | undefined> {
  const orders = await Array.fromAsync(allInForce(operator, place.app, signal));
  const running = orders.find((one) => inForce(one).active === place.id);
  const found = running ?? orders.find((one) => inForce(one).previous === place.id);
  if (found === undefined) return undefined;
  const how = running === undefined ? "what machines may go back to" : "active";
  const where = found.order.env === env ? "" : ` in ${found.order.env}`;
  const { selector } = found.order;
  const [who, on] = selector === "all" ? ["", ""] : [` on ${selector}`, ` --on '${selector}'`];
  return new SkeinError("REVISION_ACTIVE", `${name}.${revisionOf(place)} is ${how}${where}${who}`, {
    hint: `Jump to another one first: skein ftl jump --master ${name}.REVISION${on}`,
    data: { package: name, revision: revisionOf(place), env: found.order.env },
  });
}

/**
 * The orders of an app, in every environment, that some machine may be at: of each selector the newest, back to one that
 * was for all. By the listing, and not by the root, which says what whoever wrote it had seen.
 */
async function* allInForce(
  { bucket, charter, clock }: BucketOperator,
  app: string,
  signal: AbortSignal,
): AsyncGenerator<HeldOrder> {
  const names = await namesUnder(bucket.documents, `${ORDERS}${app}/`, signal);
  for (const env of new Set(names.flatMap((name) => orderPlaceOf(name)?.env ?? []))) {
    const selectors = new Set<string>();
    for await (const found of ordersBack(app, env, { bucket, charter, now: clock.now(), signal })) {
      const { selector } = found.order;
      if (!selectors.has(selector)) yield found;
      selectors.add(selector);
      if (selector === "all") break;
    }
  }
}

/** What runs where the order was carried out, and what it goes back to. */
function inForce(head: HeldOrder | null): { active: ReleaseId | null; previous: ReleaseId | null } {
  if (head === null) return { active: null, previous: null };
  const { release, fallback, state } = head.order;
  const previous = fallback === release ? null : fallback;
  return state === "run" ? { active: release, previous } : { active: null, previous: release };
}

async function order(
  operator: BucketOperator,
  { place, release, envelope }: BucketRelease,
  options: JumpOptions,
): Promise<Jumped> {
  const { app, id } = place;
  const { env, spreadMs, signal } = options;
  await deliverEarlier(operator, { app, env }, signal);
  const { line, lost } = await lineAndLost(operator, { app, env }, signal);
  const told = { app, revision: revisionOf(place), release: id, spreadMs };
  const selector = options.selector ?? selectorOf(line) ?? "all";
  const isActive = line.head?.order.release === id && line.head.order.state === "run" && lost === null;
  if (isActive && options.again !== true && line.head?.order.selector === selector) {
    // Whoever ordered it may have been killed before FTL's own clients were told.
    if (operator.dryRun === undefined) await tellFtl(operator, { place, release }, env, signal);
    return { ...told, seq: null };
  }
  const intent: BucketIntent = {
    release: id,
    state: "run",
    beside: [],
    selector,
    strategy: { ...DEFAULTS.strategy, steps: [], spreadMs },
    hooks: "run",
    applyWithinMs: APPLY_WITHIN_MS,
    releases: [envelope],
  };
  const published = await orderInBucket(operator, { app, env }, () => intent, signal);
  await tellFtl(operator, { place, release }, env, signal);
  return { ...told, seq: published.order.seq };
}

/**
 * Tells FTL's own clients what is active, where it was ordered before anything was written for them.
 * @returns REV of what is active and cannot be had by them; null: they were told, or nothing is active
 */
export async function tellFtlActive(
  operator: BucketOperator,
  { app, env }: AppEnv,
  signal: AbortSignal,
): Promise<string | null> {
  const { head, entry } = await lineOf(operator, { app, env }, signal);
  if (head === null || entry === null || head.order.state !== "run") return null;
  const active = ordered(operator, { order: head.order, entry });
  const revision = revisionOf(active.place);
  if (!(await hasFtlRevision(operator.bucket.files, active.release, revision, signal))) return revision;
  await tellFtl(operator, active, env, signal);
  return null;
}

/** Tells FTL's own clients. Of two who order at once the first may come to it last: then it tells of the second's. */
async function tellFtl(
  operator: BucketOperator,
  jumped: Pick<BucketRelease, "place" | "release">,
  env: string,
  signal: AbortSignal,
): Promise<void> {
  let { place, release } = jumped;
  while (await writeFtlActive(operator.bucket.files, release, revisionOf(place), signal)) {
    const { head, entry } = await lineOf(operator, { app: place.app, env }, signal);
    if (head === null || entry === null || head.order.state !== "run") return;
    if (head.order.release === place.id) return;
    ({ place, release } = ordered(operator, { order: head.order, entry }));
  }
}

/** What an order names, as it lies in the bucket. */
function ordered(
  { charter, clock }: BucketOperator,
  { order: { app, release: id }, entry }: { readonly order: Order; readonly entry: OrderEntry },
): BucketRelease {
  const { body: release } = releaseOf(charter, { app, id }, entry.releases, clock.now());
  const place = releasePlace(app, msOf(release.created), id);
  return { place, release, envelope: documentOf(entry.releases, id) };
}

function documentOf(releases: readonly Envelope[], id: ReleaseId): Envelope {
  const found = releases.find((one) => releaseIdOf(readUnverified(one, "release.1")) === id);
  if (found !== undefined) return found;
  throw new SkeinError(
    "ORDER_UNKNOWN_RELEASE",
    `an order without the document of its release ${id.slice(0, 8)}`,
  );
}
