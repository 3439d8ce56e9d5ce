import fs from "node:fs/promises";
import path from "node:path";
import { orderEntryBytes, parseOrderEntry, type OrderEntry } from "../../bucket/entries.ts";
import { releaseName, releasePlace } from "../../bucket/layout.ts";
import { ordersOf, publishOrder, publishRelease, whereItMoved } from "../../bucket/publish.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import { readIfThere, removeLeft, writeFileAtomic } from "../../lib/disk/files.ts";
import type { Digest, AppEnv } from "../../lib/text/ids.ts";
import { releaseIdOf, type Order, type Roster } from "../../trust/document/documents.ts";
import { readUnverified, type Envelope } from "../../trust/document/envelope.ts";
import { msOf } from "../../trust/document/fields.ts";
import { parseSelector } from "../../trust/document/selector.ts";
import { announce } from "../tell/dry-run.ts";
import { orderDeed } from "../order/order-deed.ts";
import { composeOrder, refuseUnauthorised, signOrder, type Draft, type Intent } from "../order/order.ts";
import { readBucketLine, type BucketLine } from "./bucket-line.ts";
import { publishTools, type BucketOperator } from "./bucket-operator.ts";
import { keptFile } from "./kept-file.ts";
import { keepNewest, lostSeq, newestSent } from "./newest-sent.ts";
import { removeVoidOrders } from "./void-orders.ts";

/** What an order in a bucket should say. */
export interface BucketIntent extends Omit<Intent, "attended" | "generation"> {
  /** Default: that of the order before. */
  readonly generation?: number;
  /** It is for some of the app's nodes alone: what comes next and names none is not. Default: no. */
  readonly part?: boolean;
  /** Of the release, and of those beside it. */
  readonly releases: readonly Envelope[];
}

export interface PublishedInBucket {
  readonly order: Order;
  readonly digest: Digest;
}

/** Without a hub nobody is known: whom the selector names is for each node to see. */
const NOBODY: Roster = { nodes: [] };
const TRIES = 4;

/**
 * Signs the next order of a line with its settle, keeps both, and publishes them. What an earlier command signed for
 * the app and could not deliver is delivered first.
 * @param intentOf makes the order from the line as it is
 * @throws SkeinError HEAD_MOVED when another order came first, NOT_AUTHORISED, SELECTOR_BAD, and what the bucket throws;
 *   DryRunEnd in a dry run
 */
export async function orderInBucket(
  operator: BucketOperator,
  name: AppEnv,
  intentOf: (line: BucketLine) => Promise<BucketIntent> | BucketIntent,
  signal: AbortSignal,
): Promise<PublishedInBucket> {
  refuseUnauthorised(operator, name);
  await deliverEarlier(operator, name, signal);
  let leastSeq = await freeSeq(operator, name, signal);
  for (let n = 1; n <= TRIES; n++) {
    const { line, lost } = await lineAndLost(operator, name, signal);
    if (lost !== null) leastSeq = Math.max(leastSeq, aboveLost(operator, line, lost));
    const { releases, part = false, ...intent } = await intentOf(line);
    parseSelector(intent.selector); // nobody resolves it before it is signed
    const generation = intent.generation ?? line.head?.order.generation ?? 0;
    const order = composeOrder(operator, line, { ...intent, generation }, NOBODY, leastSeq);
    const draft: Draft = { order, roster: NOBODY, nodes: [], present: [], needs: 0 };
    announce(operator, () => orderDeed(draft, line));
    const signed = await signOrder(operator, draft, false);
    if (signed.settle === null) throw new SkeinError("INTERNAL", "an order of a bucket without its settle");
    const entry: OrderEntry = {
      order: signed.order,
      settle: signed.settle,
      roster: NOBODY,
      releases: documentsFor(order, [...releases, ...(line.entry?.releases ?? [])]),
      ...(part ? { part } : {}),
    };
    if ((await send(operator, name, entry, signal)) === "published") return { order, digest: signed.digest };
    leastSeq = order.seq + 2;
  }
  throw new SkeinError("HEAD_MOVED", `others order ${name.app}/${name.env} at the same time`, {
    hint: whereItMoved(name.app),
  });
}

/** Not the next one: machines compare `prev` of neighbours, and what it would name is lost. */
function aboveLost({ bucket, note }: BucketOperator, { app, env, head }: BucketLine, lost: number): number {
  const has = head === null ? "none" : String(head.order.seq);
  note(
    `${bucket.name} was set back: order ${lost} of ${app}/${env} went to it from here, and it has ${has}; the next one is ${lost + 2}, so that every machine takes it`,
  );
  return lost + 2;
}

/** Above every name in the listing: one that nobody signed takes its serial, and stands in nobody's way. */
async function freeSeq(
  { bucket, charter }: BucketOperator,
  { app, env }: AppEnv,
  signal: AbortSignal,
): Promise<number> {
  const places = await ordersOf(app, env, { documents: bucket.documents, signal });
  const taken = places.filter(({ epoch }) => epoch === charter.epoch).at(-1)?.seq ?? 0;
  return taken + 1;
}

export async function lineOf(
  { bucket, charter, clock }: BucketOperator,
  { app, env }: AppEnv,
  signal: AbortSignal,
): Promise<BucketLine> {
  return await readBucketLine(app, env, { bucket, charter, now: clock.now(), signal });
}

/**
 * The line, and the serial that the bucket had of it and has no more. What went to it from here is read first: another
 * command of this machine may bring an order there while the line is read, and that one is not lost.
 */
export async function lineAndLost(
  operator: BucketOperator,
  name: AppEnv,
  signal: AbortSignal,
): Promise<{ readonly line: BucketLine; readonly lost: number | null }> {
  const newest = await newestSent(operator, name);
  const line = await lineOf(operator, name, signal);
  return { line, lost: lostSeq(newest, operator, line.head) };
}

/** The documents of what an order names: what it may go back to, and what runs beside it, came with the one before. */
function documentsFor(order: Order, known: readonly Envelope[]): Envelope[] {
  const named = new Set([order.release, order.fallback, ...order.beside]);
  const found = new Map(known.map((one) => [releaseIdOf(readUnverified(one, "release.1")), one] as const));
  return [...found].flatMap(([id, document]) => (named.has(id) ? [document] : []));
}

/** What was signed is on disk before it is sent: signing anew could put two orders with one serial into the world. */
async function send(
  operator: BucketOperator,
  name: AppEnv,
  entry: OrderEntry,
  signal: AbortSignal,
): Promise<"published" | "contested"> {
  const file = keptFile(operator, name, "sent-to-bucket");
  await fs.mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  removeLeft(path.dirname(file));
  await writeFileAtomic(file, orderEntryBytes(entry));
  faultPoint("operator.signed");
  return await deliver(operator, file, entry, signal);
}

/** What cannot be brought there now stays, for the next command. @throws SkeinError HEAD_MOVED, and what the bucket throws */
async function deliver(
  operator: BucketOperator,
  file: string,
  entry: OrderEntry,
  signal: AbortSignal,
): Promise<"published" | "contested"> {
  try {
    const done = await publishOrder(entry, publishTools(operator, signal));
    if (done === "published") {
      const order = readUnverified(entry.order, "order.1");
      await keepNewest(operator, order);
      await keepNamed(operator, order, entry, signal);
    }
    await fs.rm(file, { force: true });
    return done;
  } catch (err) {
    if (isSkeinError(err, "HEAD_MOVED")) await fs.rm(file, { force: true });
    throw err;
  }
}

/** A purge at this very moment saw no order of the release: what is ordered is there to be named all the same. */
async function keepNamed(
  operator: BucketOperator,
  { app, release: id }: Order,
  { releases }: OrderEntry,
  signal: AbortSignal,
): Promise<void> {
  for (const document of releases) {
    const body = readUnverified(document, "release.1");
    if (releaseIdOf(body) !== id) continue;
    const place = releasePlace(app, msOf(body.created), id);
    if ((await operator.bucket.documents.read(releaseName(place), undefined, signal)) !== undefined) continue;
    await publishRelease(place, document, publishTools(operator, signal));
  }
}

/**
 * Sends what an earlier command had signed for an app and could not deliver; another order may have come first. What
 * is in the way of any order goes before. A dry run leaves both.
 */
export async function deliverEarlier(
  operator: BucketOperator,
  name: AppEnv,
  signal: AbortSignal,
): Promise<void> {
  if (operator.dryRun !== undefined) return;
  await removeVoidOrders(operator, name, signal);
  const file = keptFile(operator, name, "sent-to-bucket");
  const text = await readIfThere(file);
  if (text === undefined) return;
  const entry = parseOrderEntry(text);
  if (entry === undefined) return await fs.rm(file, { force: true });
  await deliver(operator, file, entry, signal).catch((err: unknown) => {
    if (!isSkeinError(err, "HEAD_MOVED")) throw err;
  });
}
