import type { DocumentStore } from "../depot/seam/documents.ts";
import type { Clock } from "../lib/time/clock.ts";
import { isSkeinError, SkeinError } from "../lib/errors/errors.ts";
import { faultPoint } from "../lib/process/fault.ts";
import { retryDelayMs } from "../lib/time/retry.ts";
import { digestOfEnvelope, readUnverified, type Envelope } from "../trust/document/envelope.ts";
import { listRoot, namesUnder, orderEntryBytes, readOrderEntry, type OrderEntry } from "./entries.ts";
import {
  charterName,
  compareOrders,
  orderName,
  orderPlaceOf,
  ORDERS,
  releaseName,
  ROOT_NAME,
  type OrderPlace,
  type ReleasePlace,
} from "./layout.ts";
import { rootText } from "./root.ts";

/**
 * Writing to a bucket, by several publishers at once and by ones that die in the middle. Documents are immutable and
 * come first; the root follows from what is there. Whoever wrote it looks again until it says what the listing says:
 * the last one to write it lists after everybody's documents have come, so two publishers converge without any
 * condition. Where the store can compare, it also sees to it that a serial has one order only.
 */
export interface PublishTools {
  readonly documents: DocumentStore;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Orders kept of each app and environment; older ones are removed. */
const ORDERS_KEPT = 100;
const ROOT_TRIES = 30;
const BACKOFF = { baseMs: 20, maxMs: 1000, random: Math.random } as const;

/** Puts a chain of charters, from the first on. Idempotent. @throws SkeinError CONFLICT: another cluster's bucket */
export async function publishCharters(chain: readonly Envelope[], tools: PublishTools): Promise<void> {
  for (const [i, charter] of chain.entries()) await putOnce(charterName(i + 1), jsonBytes(charter), tools);
  await remakeRoot(tools);
}

/** Puts a release's signed document. Idempotent: two documents of one release say the same. */
export async function publishRelease(
  place: ReleasePlace,
  release: Envelope,
  tools: PublishTools,
): Promise<void> {
  await tools.documents.write(releaseName(place), jsonBytes(release), {}, tools.signal);
  faultPoint("bucket.release");
  await remakeRoot(tools);
}

/** Removes a release's document: nodes give it up at their next look. Idempotent. */
export async function withdrawRelease(place: ReleasePlace, tools: PublishTools): Promise<void> {
  await tools.documents.delete(releaseName(place), tools.signal);
  faultPoint("bucket.withdrawn");
  await remakeRoot(tools);
}

/**
 * Publishes a signed order. Idempotent: the same bytes may be sent again after a cut.
 * @returns "contested" where another order came with the same serial in the same moment. Then this one is withdrawn,
 * and to be signed anew two serials on: nodes may have seen either of the two, and compare only neighbours' `prev`
 * @throws SkeinError HEAD_MOVED when another order came first
 */
export async function publishOrder(
  entry: OrderEntry,
  tools: PublishTools,
): Promise<"published" | "contested"> {
  const { documents, signal } = tools;
  const digest = digestOfEnvelope(entry.order);
  const { app, env, epoch, seq } = readUnverified(entry.order, "order.1");
  const place: OrderPlace = { app, env, epoch, seq, digest: documents.conditional ? null : digest };
  const before = await ordersOf(app, env, tools);
  const rival = before.find((one) => isRival(one, place));
  if (rival !== undefined && !(await isSame(rival, entry, tools))) throw headMoved(place);
  if (rival === undefined) {
    await putOrder(place, entry, tools);
    faultPoint("bucket.order");
    if (!documents.conditional && (await isContested(place, tools))) return "contested";
  }
  for (const old of before.slice(0, Math.max(0, before.length + 1 - ORDERS_KEPT))) {
    await documents.delete(orderName(old), signal);
  }
  await remakeRoot(tools);
  return "published";
}

/** The orders that are there, oldest first. */
export async function ordersOf(
  app: string,
  env: string,
  { documents, signal }: Pick<PublishTools, "documents" | "signal">,
): Promise<readonly OrderPlace[]> {
  const names = await namesUnder(documents, `${ORDERS}${app}/${env}/`, signal);
  return names.flatMap((name) => orderPlaceOf(name) ?? []).sort(compareOrders);
}

/** Writes the root until it says what the listing says. @throws SkeinError CONFLICT when others never stop writing */
export async function remakeRoot({ documents, clock, signal }: PublishTools): Promise<void> {
  for (let n = 1; n <= ROOT_TRIES; n++) {
    // Before the listing: what it names is looked for where listings are late.
    const there = await documents.read(ROOT_NAME, undefined, signal);
    const text = rootText(await listRoot(documents, signal));
    if (there !== undefined && there !== "same" && Buffer.from(there.bytes).toString("utf8") === text) return;
    const etag = there === undefined || there === "same" ? null : there.etag;
    try {
      await documents.write(ROOT_NAME, Buffer.from(text), { if: etag }, signal);
      faultPoint("bucket.root");
    } catch (err) {
      if (!isSkeinError(err, "CONFLICT")) throw err;
      await clock.sleep(retryDelayMs(n, BACKOFF), signal);
    }
  }
  throw new SkeinError("CONFLICT", `${documents.name}: the root was changed by others again and again`);
}

/** An immutable document: there already is as good as written now. @throws SkeinError CONFLICT when another is there */
async function putOnce(name: string, bytes: Uint8Array, { documents, signal }: PublishTools): Promise<void> {
  try {
    if (documents.conditional) {
      await documents.write(name, bytes, { if: null }, signal);
      return;
    }
  } catch (err) {
    if (!isSkeinError(err, "CONFLICT")) throw err;
  }
  const there = await documents.read(name, undefined, signal);
  if (there !== undefined && there !== "same") {
    if (Buffer.compare(there.bytes, bytes) === 0) return;
    throw new SkeinError("CONFLICT", `${documents.name} has another ${name}`, { data: { document: name } });
  }
  await documents.write(name, bytes, {}, signal);
}

/** What stands in the way of an order: one that is newer, or another with its serial. */
const isRival = (there: OrderPlace, own: OrderPlace): boolean =>
  there.epoch > own.epoch || (there.epoch === own.epoch && there.seq >= own.seq);

async function isSame(there: OrderPlace, entry: OrderEntry, tools: PublishTools): Promise<boolean> {
  const found = await readOrderEntry(tools.documents, orderName(there), tools.signal);
  return found !== undefined && digestOfEnvelope(found.order) === digestOfEnvelope(entry.order);
}

async function putOrder(place: OrderPlace, entry: OrderEntry, tools: PublishTools): Promise<void> {
  try {
    await putOnce(orderName(place), orderEntryBytes(entry), tools);
  } catch (err) {
    throw isSkeinError(err, "CONFLICT") ? headMoved(place) : err;
  }
}

/**
 * After an order was put where nothing compares: has another with its serial come? Whoever sees one withdraws its own;
 * where two see each other, the one with the lower digest is signed anew and the other has lost.
 * @throws SkeinError HEAD_MOVED when this one has lost
 */
async function isContested(own: OrderPlace, tools: PublishTools): Promise<boolean> {
  const { documents, signal } = tools;
  const rivals = (await ordersOf(own.app, own.env, tools)).filter(
    (one) => isRival(one, own) && one.digest !== own.digest,
  );
  if (rivals.length === 0) return false;
  await documents.delete(orderName(own), signal);
  if (rivals.some((one) => compareOrders(own, one) < 0)) throw headMoved(own);
  return true;
}

/** There is no hub to ask for a status. */
export const whereItMoved = (app: string): string =>
  `See what was ordered with skein list --master ${app}, and order it again if it is still to be.`;

function headMoved({ app, env, seq }: OrderPlace): SkeinError {
  return new SkeinError("HEAD_MOVED", `another order of ${app}/${env} came first (${seq} is taken)`, {
    hint: whereItMoved(app),
    data: { app, env, seq },
  });
}

const jsonBytes = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));
