import { SkeinError } from "../../lib/errors/errors.ts";
import type { Digest } from "../../lib/text/ids.ts";
import { rosterDigest, rosterSchema, type Charter, type Order, type Roster } from "../document/documents.ts";
import { parseEnvelope, type Envelope } from "../document/envelope.ts";
import { compareSerials, openOrder, openSettle, refuseUnproven, serialText, type Serial } from "./orders.ts";

/** An order that an agent holds, as it reports it to a hub that gathers what it lost. */
export interface ReportedOrder {
  readonly order: unknown;
  readonly roster: Roster | null;
  readonly settle: unknown;
  readonly receipts: readonly unknown[];
}

interface KnownOrder extends Serial {
  readonly app: string;
  readonly env: string;
  readonly digest: Digest;
  readonly envelope: Envelope;
  /** Null when nobody gave the one that the order signed. */
  readonly roster: Roster | null;
  /** The settle with the receipts that prove it. */
  readonly settled: { readonly document: Envelope; readonly receipts: readonly Envelope[] } | null;
}

export interface CatchUp {
  /** By `app/env`: what the hub must hold as its head and as what stands before it takes orders again. */
  readonly apps: ReadonlyMap<string, { readonly head: KnownOrder; readonly standing: KnownOrder | null }>;
  /** Two orders with one serial: the first is kept, people are told. */
  readonly conflicts: readonly { readonly kept: KnownOrder; readonly other: KnownOrder }[];
  /** Reports that prove nothing; the settle alone may be the trouble, then its order was still used. */
  readonly refused: readonly { readonly index: number; readonly error: SkeinError }[];
}

/**
 * What a hub that was restored from a backup must adopt: per app the newest order and the newest settled one, out
 * of what it has itself (first, so that it wins a tie) and what agents report. Agents cannot invent orders: every
 * one is verified like any other. Feed it all reports at once or one after the other; the order does not matter
 * but for conflicts.
 */
export function catchUp(charter: Charter, reports: readonly ReportedOrder[], now: number): CatchUp {
  const orders = new Map<Digest, KnownOrder>();
  const refused: { index: number; error: SkeinError }[] = [];
  const note = (index: number, err: unknown): void => {
    if (!(err instanceof SkeinError)) throw err;
    refused.push({ index, error: err });
  };
  for (const [index, report] of reports.entries()) {
    try {
      const read = readReport(charter, report, now, (err) => note(index, err));
      const before = orders.get(read.digest);
      orders.set(read.digest, before === undefined ? read : merged(before, read));
    } catch (err) {
      note(index, err);
    }
  }
  return { ...newest([...orders.values()]), refused };
}

function readReport(
  charter: Charter,
  report: ReportedOrder,
  now: number,
  onBadSettle: (err: unknown) => void,
): KnownOrder {
  const { body, digest } = openOrder(charter, report.order, now);
  const { app, env, epoch, seq } = body;
  const envelope = parseEnvelope(report.order);
  const roster = rosterFor(body, report.roster);
  const unsettled = { app, env, epoch, seq, digest, envelope, roster, settled: null };
  if (report.settle === null || report.settle === undefined) return unsettled;
  try {
    return { ...unsettled, settled: settledBy(charter, report, { body, digest }, now) };
  } catch (err) {
    onBadSettle(err);
    return unsettled;
  }
}

function rosterFor(order: Order, roster: Roster | null): Roster | null {
  const parsed = rosterSchema.safeParse(roster);
  return parsed.success && rosterDigest(parsed.data) === order.roster ? parsed.data : null;
}

function settledBy(
  charter: Charter,
  report: ReportedOrder,
  order: { readonly body: Order; readonly digest: Digest },
  now: number,
): KnownOrder["settled"] {
  const { body: settle } = openSettle(charter, report.settle, now);
  const { roster, receipts } = report;
  const counted = refuseUnproven({ settle, order: order.body, orderDigest: order.digest, roster, receipts });
  return { document: parseEnvelope(report.settle), receipts: counted.map((one) => parseEnvelope(one)) };
}

function merged(a: KnownOrder, b: KnownOrder): KnownOrder {
  return { ...a, roster: a.roster ?? b.roster, settled: a.settled ?? b.settled };
}

function newest(orders: readonly KnownOrder[]): Pick<CatchUp, "apps" | "conflicts"> {
  const bySerial = new Map<string, KnownOrder>();
  const conflicts: { kept: KnownOrder; other: KnownOrder }[] = [];
  for (const order of orders) {
    const key = `${order.app}/${order.env} ${serialText(order)}`;
    const kept = bySerial.get(key);
    if (kept === undefined) bySerial.set(key, order);
    else conflicts.push({ kept, other: order });
  }
  const apps = new Map<string, { head: KnownOrder; standing: KnownOrder | null }>();
  for (const order of bySerial.values()) {
    const key = `${order.app}/${order.env}`;
    const found = apps.get(key);
    apps.set(key, {
      head: newer(found?.head, order),
      standing: order.settled === null ? (found?.standing ?? null) : newer(found?.standing, order),
    });
  }
  return { apps, conflicts };
}

function newer(a: KnownOrder | null | undefined, b: KnownOrder): KnownOrder {
  return a !== null && a !== undefined && compareSerials(a, b) >= 0 ? a : b;
}
