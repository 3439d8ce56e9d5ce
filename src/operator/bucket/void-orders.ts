import { readOrderEntry } from "../../bucket/entries.ts";
import { followCharters, VOID } from "../../bucket/following.ts";
import { charterName, orderName, type OrderPlace } from "../../bucket/layout.ts";
import { ordersOf } from "../../bucket/publish.ts";
import { isSkeinError, type SkeinError } from "../../lib/errors/errors.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import type { AppEnv } from "../../lib/text/ids.ts";
import { openOrder } from "../../trust/orders/orders.ts";
import type { BucketOperator } from "./bucket-operator.ts";

/**
 * Names in a bucket that nobody may have signed cannot be trusted not to be there: whoever can write it can put one.
 * One with a serial of the charter's epoch is stepped over, for the next order takes a serial above it. That does not
 * go for another epoch, nor for the last serials there are; such a name would hold its app for ever, and is removed.
 */
const LAST_SEQ = Number.MAX_SAFE_INTEGER - 2 ** 20;

/** Removes what stands in the way of an app's next order and never was one. Leaves alone what may be one. */
export async function removeVoidOrders(
  operator: BucketOperator,
  { app, env }: AppEnv,
  signal: AbortSignal,
): Promise<void> {
  const { bucket, charter, root } = operator;
  const places = await ordersOf(app, env, { documents: bucket.documents, signal });
  const above = places.filter(({ epoch, seq }) => epoch > charter.epoch || seq > LAST_SEQ);
  if (above.length === 0 && root.charter === charter.version) return;
  if (!(await isNewestCharter(operator, signal))) return;
  for (const place of above) {
    if (!(await isVoid(operator, place, signal))) continue;
    operator.note(`${orderName(place)} is no order that anybody here may sign, and was in the way: removed`);
    await bucket.documents.delete(orderName(place), signal);
    faultPoint("bucket.void-removed");
  }
}

/**
 * Who knows an old charter takes orders under the next one for void. What lies in the next one's place and cannot be it
 * goes, too.
 */
async function isNewestCharter(
  { bucket, charter, clock, note }: BucketOperator,
  signal: AbortSignal,
): Promise<boolean> {
  const next = charter.version + 1;
  const seen = { now: clock.now(), signal };
  const { envelopes, trouble } = await followCharters(bucket.documents, charter, next, seen);
  if (trouble === undefined) return envelopes.length === 0;
  if (!isSkeinError(trouble, ...VOID) || isLater(trouble)) return false;
  note(`${charterName(next)}: removed`);
  await bucket.documents.delete(charterName(next), signal);
  return true;
}

async function isVoid(
  { bucket, charter, clock }: BucketOperator,
  place: OrderPlace,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    const entry = await readOrderEntry(bucket.documents, orderName(place), signal);
    if (entry === undefined) return false; // gone by itself
    const { app, env, epoch, seq } = openOrder(charter, entry.order, clock.now()).body;
    return app !== place.app || env !== place.env || epoch !== place.epoch || seq !== place.seq;
  } catch (err) {
    if (isSkeinError(err, ...VOID)) return !isLater(err);
    throw err;
  }
}

/** `charter.2` in the place of a `charter.1`: who does not know that format cannot say that nobody signed it. */
function isLater({ data }: SkeinError): boolean {
  const [found, known] = [data["type"], data["expected"]].map(String).map((type) => type.split("."));
  return found?.[0] === known?.[0] && Number(found?.[1]) > Number(known?.[1]);
}
