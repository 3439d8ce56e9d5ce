import { SkeinError } from "../../lib/errors/errors.ts";
import type { Digest, KeyId } from "../../lib/text/ids.ts";
import { formatDuration } from "../../lib/text/units.ts";
import type { Charter } from "../document/documents.ts";
import {
  digestOfEnvelope,
  openEnvelope,
  parseEnvelope,
  readUnverified,
  type Envelope,
  type Opened,
} from "../document/envelope.ts";
import { msOf, timeOf } from "../document/fields.ts";
import { allows, keysOf, keysWith } from "./rights.ts";

const MINUTE_MS = 60_000;
/** A document may be dated this much ahead of the reader's clock. */
export const MAX_AHEAD_MS = 10 * MINUTE_MS;

/** Two clocks that far apart are of no use to each other: what one of them dates, the other may refuse. */
export const isSkewed = (skewMs: number | null): boolean => Math.abs(skewMs ?? 0) > MAX_AHEAD_MS;

/**
 * By how much at least a clock is ahead that showed `at` when another one was between `from` and `to`, in ms; negative:
 * behind. What was under way, or lay unread, for so long says nothing nearer.
 */
export const leastAheadMs = (at: number, from: number, to: number): number =>
  at < from ? at - from : Math.max(0, at - to);

/**
 * @param reader whose system's clock `systemNow` is: what is said of it is often shown on another machine
 * @throws SkeinError DOC_FROM_FUTURE. Compared with the system's clock, never with what documents say.
 */
export function refuseFuture(type: string, at: string, systemNow: number, reader = "its reader"): void {
  const aheadMs = msOf(at) - systemNow;
  if (aheadMs <= MAX_AHEAD_MS) return;
  const minutes = Math.round(aheadMs / MINUTE_MS) * MINUTE_MS;
  throw new SkeinError(
    "DOC_FROM_FUTURE",
    `this ${type} is dated ${at}, ${formatDuration(minutes)} ahead of ${reader}'s clock, which says ${timeOf(systemNow)}`,
    { data: { type, at, aheadMs } },
  );
}

/** @throws SkeinError WRONG_CLUSTER */
export function refuseForeign(type: string, cluster: string, charter: Charter): void {
  if (cluster === charter.cluster) return;
  throw new SkeinError("WRONG_CLUSTER", `a ${type} of cluster ${cluster.slice(0, 8)}`, {
    data: { type, cluster, own: charter.cluster },
  });
}

/**
 * The first charter, known by its digest: what `skein init` prints and a ticket carries.
 * @throws SkeinError CHARTER_PIN, DOC_UNSIGNED, DOC_MALFORMED
 */
export function openCharter(source: unknown, pin: Digest): Opened<"charter.1"> {
  const envelope = parseEnvelope(source);
  const digest = digestOfEnvelope(envelope);
  if (digest !== pin) {
    throw new SkeinError("CHARTER_PIN", `the charter's fingerprint is ${digest}, not ${pin}`, {
      data: { found: digest, pinned: pin },
    });
  }
  const charter = readUnverified(envelope, "charter.1");
  if (charter.version !== 1) throw new SkeinError("CHARTER_PIN", "only a first charter can be pinned");
  return openEnvelope(
    envelope,
    "charter.1",
    keysOf(charter, charter.recovery.keys),
    charter.recovery.threshold,
  );
}

/**
 * The charter after `current`: signed by the recovery keys of both, or by an admin who left alone what only
 * recovery may change. `now` is the system's clock.
 * @throws SkeinError WRONG_CLUSTER, CHARTER_ROLLBACK, DOC_UNSIGNED, NOT_AUTHORISED, DOC_FROM_FUTURE, DOC_MALFORMED
 */
export function nextCharter(current: Charter, source: unknown, now: number): Opened<"charter.1"> {
  const envelope = parseEnvelope(source);
  const next = readUnverified(envelope, "charter.1");
  refuseForeign("charter", next.cluster, current);
  if (next.version !== current.version + 1 || next.epoch < current.epoch) {
    throw new SkeinError(
      "CHARTER_ROLLBACK",
      `charter ${next.version} (epoch ${next.epoch}) cannot follow ${current.version} (epoch ${current.epoch})`,
      { data: { version: next.version, current: current.version } },
    );
  }
  const opened = openByRecovery(current, next, envelope) ?? openByAdmin(current, next, envelope);
  refuseFuture("charter", next.issued, now);
  return opened;
}

/**
 * Follows a chain from its pinned first charter; the last one is the current charter.
 * @throws SkeinError as openCharter and nextCharter
 */
export function openChain(chain: readonly unknown[], pin: Digest, now: number): Opened<"charter.1"> {
  const [first, ...later] = chain;
  return later.reduce<Opened<"charter.1">>(
    (current, source) => nextCharter(current.body, source, now),
    openCharter(first, pin),
  );
}

function openByRecovery(
  current: Charter,
  next: Charter,
  envelope: Envelope,
): Opened<"charter.1"> | undefined {
  try {
    openEnvelope(envelope, "charter.1", keysOf(current, current.recovery.keys), current.recovery.threshold);
    return openEnvelope(envelope, "charter.1", keysOf(next, next.recovery.keys), next.recovery.threshold);
  } catch (err) {
    if (err instanceof SkeinError && err.code === "DOC_UNSIGNED") return undefined;
    throw err;
  }
}

function openByAdmin(current: Charter, next: Charter, envelope: Envelope): Opened<"charter.1"> {
  const opened = openEnvelope(envelope, "charter.1", keysWith(current, { kind: "admin" }), 1);
  const changed = beyondAdmin(current, next);
  if (changed === undefined) return opened;
  throw new SkeinError("NOT_AUTHORISED", `only the recovery keys may change the charter's ${changed}`, {
    data: { changed },
  });
}

/**
 * The first field that an admin may not have changed: trust itself, and what could be made weaker. Keys need no look: each
 * is the one that its id names, and whoever is listed has one.
 */
function beyondAdmin(current: Charter, next: Charter): string | undefined {
  if (next.epoch !== current.epoch) return "epoch";
  if (next.expires !== current.expires) return "expires";
  if (next.commands && !current.commands) return "commands";
  if (!same(next.limits, current.limits)) return "limits";
  if (!same(next.recovery, current.recovery)) return "recovery";
  if (!same(adminLines(next), adminLines(current))) return "admins";
  const lowered = Object.entries(current.quorum).some(([name, needed]) => (next.quorum[name] ?? 1) < needed);
  return lowered ? "quorum" : undefined;
}

function adminLines(charter: Charter): unknown {
  const kids = (Object.keys(charter.operators) as KeyId[]).filter((kid) =>
    allows(charter, kid, { kind: "admin" }),
  );
  return kids.sort().map((kid) => [kid, charter.operators[kid]]);
}

/** Equal as values; the order of an object's fields means nothing. */
function same(a: unknown, b: unknown): boolean {
  return stableText(a) === stableText(b);
}

function stableText(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) => {
    if (typeof part !== "object" || part === null || Array.isArray(part)) return part;
    return Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
