import { NOT_IN_FORCE } from "../../bucket/following.ts";
import { readOrderEntry, type OrderEntry } from "../../bucket/entries.ts";
import { orderName } from "../../bucket/layout.ts";
import { ordersOf } from "../../bucket/publish.ts";
import type { Bucket } from "../../bucket/bucket.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";
import type { Charter } from "../../trust/document/documents.ts";
import { openOrder } from "../../trust/orders/orders.ts";
import type { HeldOrder, Line } from "../order/order.ts";

/** A line whose orders lie in a bucket. */
export interface BucketLine extends Line {
  /** The newest order with the documents of its releases. */
  readonly entry: OrderEntry | null;
}

export interface LineOptions {
  readonly bucket: Bucket;
  readonly charter: Charter;
  readonly now: number;
  readonly signal: AbortSignal;
}

/**
 * The newest valid order of an app, read from the listing and not from the root: a publisher may not build on what is
 * old. Documents that nobody may have signed are passed over.
 */
export async function readBucketLine(app: string, env: string, options: LineOptions): Promise<BucketLine> {
  let head: FoundOrder | null = null;
  let whole: FoundOrder | null = null;
  const parts = new Map<string, FoundOrder>();
  for await (const found of ordersBack(app, env, options)) {
    head ??= found;
    whole = found;
    if (found.entry.part !== true) break;
    const { selector } = found.order;
    if (!parts.has(selector)) parts.set(selector, found);
  }
  // Nobody tells a bucket what became of an order: it stands as soon as it is read.
  return {
    app,
    env,
    head,
    standing: head,
    whole,
    parts: [...parts.values()],
    takenBack: false,
    view: null,
    elsewhere: [],
    entry: head?.entry ?? null,
  };
}

type FoundOrder = HeldOrder & { readonly entry: OrderEntry };

/** An app's valid orders, newest first. */
export async function* ordersBack(
  app: string,
  env: string,
  { bucket, charter, now, signal }: LineOptions,
): AsyncGenerator<FoundOrder> {
  const places = await ordersOf(app, env, { documents: bucket.documents, signal });
  for (const place of places.toReversed()) {
    try {
      const entry = await readOrderEntry(bucket.documents, orderName(place), signal);
      const opened = entry === undefined ? undefined : openOrder(charter, entry.order, now);
      if (entry === undefined || opened?.body.app !== app || opened.body.env !== env) continue;
      yield { order: opened.body, digest: opened.digest, entry };
    } catch (err) {
      // One that could not be read is no reason to take the one before it for the newest.
      if (!isSkeinError(err, ...NOT_IN_FORCE)) throw err;
    }
  }
}
