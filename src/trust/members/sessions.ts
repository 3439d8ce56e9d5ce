import { SkeinError } from "../../lib/errors/errors.ts";
import type { KeyId } from "../../lib/text/ids.ts";
import { refuseForeign, refuseFuture } from "../charter/charter.ts";
import type { Charter, Command } from "../document/documents.ts";
import { openEnvelope, readUnverified, type Opened } from "../document/envelope.ts";
import { msOf, timeOf } from "../document/fields.ts";
import { keysOf, keysWith, type Right } from "../charter/rights.ts";

/** Sessions and commands live for hours at most: they open a door, or say something once, and order nothing. */
const MAX_SESSION_MS = 12 * 3_600_000;

/**
 * An operator's word that a TLS key speaks for them: for transport only, nothing is deployed by it. A hub reads it, and
 * what it says of it is shown on the operator's machine. Whether the other side of the connection holds that key is for
 * the caller to ask.
 * @throws SkeinError UNKNOWN_CLIENT (not an operator, or for too long), CLOCK_SKEW (over), WRONG_CLUSTER, DOC_*
 */
export function openSession(charter: Charter, source: unknown, now: number): Opened<"session.1"> {
  const claimed = readUnverified(source, "session.1");
  refuseForeign("session", claimed.cluster, charter);
  if (!Object.hasOwn(charter.operators, claimed.operator)) {
    throw new SkeinError("UNKNOWN_CLIENT", "the charter lists no operator with this key", {
      data: { operator: claimed.operator },
    });
  }
  const opened = openEnvelope(source, "session.1", keysOf(charter, [claimed.operator]), 1);
  const { issued, expires } = opened.body;
  refuseFuture("session", issued, now, "the hub");
  refuseSpent("session", { issued, expires }, { now, longestMs: MAX_SESSION_MS });
  return opened;
}

/**
 * Kinds that only look, tidy up, or act on what an order already runs, with the longest time each may be open: a log
 * may be followed as long as its session lasts. Every other kind needs `commands` in the charter.
 */
const ORDINARY_COMMANDS: ReadonlyMap<string, number> = new Map([
  ["logs", MAX_SESSION_MS],
  ["verify", 15 * 60_000],
  ["version", 5 * 60_000],
  ["gc", 15 * 60_000],
  ["restart-instance", 5 * 60_000],
  ["stop-instance", 5 * 60_000],
  ["stop-now", 5 * 60_000],
  ["end-hook", 5 * 60_000],
  ["cache-list", 15 * 60_000],
  ["cache-flush", 15 * 60_000],
  ["cache-gc", 15 * 60_000],
  ["cache-repair", 2 * 3_600_000],
  ["cache-fetch", 2 * 3_600_000],
  ["cache-read", 2 * 3_600_000],
  ["drift", 15 * 60_000],
  ["forecast", 15 * 60_000],
  ["purge", 15 * 60_000],
  // Large releases may have to be fetched anew.
  ["repair", 6 * 3_600_000],
  // They may wait for nodes that are away.
  ["stage", 7 * 86_400_000],
  ["pin", 7 * 86_400_000],
]);
const OTHER_COMMAND_MS = 5 * 60_000;

/** From `issued` to `expires`, in ms. */
export const longestCommandMs = (kind: string): number => ORDINARY_COMMANDS.get(kind) ?? OTHER_COMMAND_MS;

/**
 * The right that whoever signs a command must have. All apps of a node share its cache: what is done to it is nothing
 * that a right to one app allows, whatever app the command names.
 */
export function rightFor({ app, env, kind }: Pick<Command, "app" | "env" | "kind">): Right {
  const isForNode = app === null || env === null || kind.startsWith("cache-");
  return isForNode ? { kind: "admin" } : { kind: "deploy", app, env };
}

/**
 * Something to be done once, now, by the nodes that it names. Whoever acts remembers its digest until `expires`:
 * a command is for one time.
 * @throws SkeinError NOT_AUTHORISED, ORDER_NOT_FOR_NODE, ORDER_EXPIRED, WRONG_CLUSTER, DOC_*
 */
export function openCommand(
  charter: Charter,
  source: unknown,
  context: { readonly now: number; readonly self?: KeyId },
): Opened<"command.1"> {
  const claimed = readUnverified(source, "command.1");
  refuseForeign("command", claimed.cluster, charter);
  const { kind } = claimed;
  const opened = openEnvelope(source, "command.1", keysWith(charter, rightFor(claimed)), 1);
  if (!charter.commands && !ORDINARY_COMMANDS.has(kind)) {
    throw new SkeinError("NOT_AUTHORISED", `the charter does not allow the command '${kind}'`, {
      data: { kind },
    });
  }
  const { issued, expires, nodes } = opened.body;
  refuseFuture("command", issued, context.now);
  const limits = { now: context.now, longestMs: longestCommandMs(kind) };
  refuseSpent("command", { issued, expires }, limits);
  if (context.self !== undefined && !nodes.includes(context.self)) {
    throw new SkeinError("ORDER_NOT_FOR_NODE", "the command does not name this node", {
      data: { self: context.self },
    });
  }
  return opened;
}

/** Its end counts, and no document may give itself more time than its kind has. */
function refuseSpent(
  type: "session" | "command",
  { issued, expires }: { readonly issued: string; readonly expires: string },
  { now, longestMs }: { readonly now: number; readonly longestMs: number },
): void {
  const isSession = type === "session";
  if (msOf(expires) - msOf(issued) > longestMs) {
    const code = isSession ? "UNKNOWN_CLIENT" : "ORDER_EXPIRED";
    throw new SkeinError(code, `a ${type} may last ${longestMs / 60_000} minutes at most`);
  }
  if (now < msOf(expires)) return;
  // Operators renew theirs by their own clock.
  const code = isSession ? "CLOCK_SKEW" : "ORDER_EXPIRED";
  const reader = isSession ? "the hub" : "its reader";
  const message = `the ${type} ended at ${expires}, and ${reader}'s clock says ${timeOf(now)}`;
  const hint = isSession ? { hint: "Set the clock of the machine that differs." } : {};
  throw new SkeinError(code, message, { ...hint, data: { expires } });
}
