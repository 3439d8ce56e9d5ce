import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import type { Digest, KeyId } from "../../lib/text/ids.ts";
import { refuseForeign, refuseFuture } from "../charter/charter.ts";
import type { Charter, DocumentBody, Enrol, Ticket } from "../document/documents.ts";
import {
  digestOfEnvelope,
  openEnvelope,
  parseEnvelope,
  readUnverified,
  type Opened,
} from "../document/envelope.ts";
import { msOf, timeOf } from "../document/fields.ts";
import { keyIdOf, type PublicKey } from "../keys/keys.ts";
import { enrollerKeys, keysWith, type Keys } from "../charter/rights.ts";

/** Who a node is: from its birth certificate (ticket and enrolment), and the labels it was given since. */
export interface Identity {
  readonly node: KeyId;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Serial of the label document that is in force; 0 while the ticket's labels are. */
  readonly serial: number;
}

export interface Birth {
  readonly identity: Identity;
  readonly ticket: Ticket;
  readonly ticketDigest: Digest;
  readonly enrol: Enrol;
}

/**
 * A ticket by an operator who may give all of its labels. Pass `now` (the system's clock) where the ticket is
 * about to be used; a birth certificate outlives its ticket.
 * @throws SkeinError TICKET_BAD, TICKET_EXPIRED, WRONG_CLUSTER, DOC_*
 */
export function openTicket(
  charter: Charter,
  source: unknown,
  options: { readonly pin: Digest; readonly now?: number },
): Opened<"ticket.1"> {
  const claimed = readUnverified(source, "ticket.1");
  refuseForeign("ticket", claimed.cluster, charter);
  const opened = openGiven(source, keysWith(charter, { kind: "enrol", labels: claimed.labels }));
  const ticket = opened.body;
  if (ticket.charter !== options.pin) throw bad("it was made for another charter");
  if (options.now === undefined) return opened;
  refuseFuture("ticket", ticket.issued, options.now);
  if (options.now >= msOf(ticket.expires)) {
    const says = `the ticket expired at ${ticket.expires}, and its reader's clock says ${timeOf(options.now)}`;
    throw new SkeinError("TICKET_EXPIRED", says, {
      hint: "Make another: skein node invite; or set the clock that is wrong.",
      data: { expires: ticket.expires, ticket: opened.digest },
    });
  }
  return opened;
}

/** Whoever holds a ticket that nobody vouches for has no key to sign another with. */
function openGiven(source: unknown, keys: Keys): Opened<"ticket.1"> {
  try {
    return openEnvelope(source, "ticket.1", keys, 1);
  } catch (err) {
    if (!isSkeinError(err, "DOC_UNSIGNED")) throw err;
    throw new SkeinError("DOC_UNSIGNED", "no operator who may let in such a node signed the ticket", {
      hint: "Have one who may make another: skein node invite. Who signed this one has no right to, or was dropped from the charter since.",
      data: err.data,
      cause: err,
    });
  }
}

/**
 * The chain operator, ticket, enrolment: verified by everyone who meets the node, so that no hub can add one.
 * @throws SkeinError TICKET_BAD and what openTicket throws
 */
export function openBirth(
  charter: Charter,
  documents: { readonly ticket: unknown; readonly enrol: unknown },
  options: { readonly pin: Digest; readonly now?: number },
): Birth {
  const opened = openTicket(charter, documents.ticket, options);
  const ticket = opened.body;
  const claimed = readUnverified(documents.enrol, "enrol.1");
  refuseForeign("enrolment", claimed.cluster, charter);
  if (claimed.ticket !== opened.digest) throw bad("the enrolment is for another ticket");
  const keys = keyMap({ alg: "raw", pub: ticket.key }, { alg: "raw", pub: claimed.key });
  // Two different keys: the ticket's secret alone must not be able to speak as the node afterwards.
  if (keys.size !== 2) throw bad("the node uses the ticket's own key");
  const { body: enrol } = openEnvelope(documents.enrol, "enrol.1", keys, 2);
  if (ticket.name !== null && ticket.name !== enrol.name)
    throw bad(`it is for ${ticket.name}, not ${enrol.name}`);
  if (msOf(enrol.issued) >= msOf(ticket.expires)) throw bad("the enrolment is later than its end");
  const node = keyIdOf({ alg: "raw", pub: enrol.key });
  const identity = { node, name: enrol.name, labels: ticket.labels, serial: 0 };
  return { identity, ticket, ticketDigest: opened.digest, enrol };
}

/**
 * A node's new name and labels, by an operator who may give and take every label that changes. Orders name nodes by
 * their names, too: for another one it takes the right to all of its labels, as for its end.
 * @throws SkeinError ORDER_NOT_FOR_NODE, DOC_ROLLBACK when its serial is not higher, WRONG_CLUSTER, DOC_*
 */
export function openLabel(
  charter: Charter,
  source: unknown,
  current: Identity,
  now: number,
): Opened<"label.1"> {
  const claimed = readUnverified(source, "label.1");
  refuseForeign("label", claimed.cluster, charter);
  if (claimed.node !== current.node) throw notFor("label", claimed.node, current);
  const changing = changedLabels(current.labels, claimed.labels);
  const keys = changing.map((labels) => keysWith(charter, { kind: "enrol", labels }));
  if (claimed.name !== current.name) keys.push(keysToEnd(charter, current));
  const opened = openEnvelope(source, "label.1", inAll(keys), 1);
  refuseFuture("label", opened.body.issued, now);
  if (opened.body.serial > current.serial) return opened;
  throw new SkeinError(
    "DOC_ROLLBACK",
    `label ${opened.body.serial} of ${current.name}, which has ${current.serial}`,
    {
      data: { node: current.node, serial: opened.body.serial, current: current.serial },
    },
  );
}

/** The identity after a label document that `openLabel` let through. */
export function relabelled(current: Identity, { body }: Opened<"label.1">): Identity {
  return { node: current.node, name: body.name, labels: body.labels, serial: body.serial };
}

/**
 * The end of a node's identity, by an admin or by an operator who may give all of its labels.
 * @throws SkeinError ORDER_NOT_FOR_NODE, WRONG_CLUSTER, DOC_*
 */
export function openRevoke(
  charter: Charter,
  source: unknown,
  current: Identity,
  now: number,
): Opened<"revoke.1"> {
  const claimed = readUnverified(source, "revoke.1");
  refuseForeign("revocation", claimed.cluster, charter);
  if (claimed.node !== current.node) throw notFor("revocation", claimed.node, current);
  const opened = openEnvelope(source, "revoke.1", keysToEnd(charter, current), 1);
  refuseFuture("revocation", opened.body.issued, now);
  return opened;
}

/**
 * As much as can be said of a label or a revocation by who does not know the node: some operator who has to do with
 * nodes signed it. Whether that was this node's to say shows when its birth certificate is there.
 * @throws SkeinError WRONG_CLUSTER, DOC_*
 */
export function openUnplaced<T extends "label.1" | "revoke.1">(
  charter: Charter,
  source: unknown,
  type: T,
  now: number,
): DocumentBody<T> {
  const { body } = openEnvelope(source, type, enrollerKeys(charter), 1);
  const { cluster, issued }: Pick<DocumentBody<"revoke.1">, "cluster" | "issued"> = body;
  refuseForeign(type, cluster, charter);
  refuseFuture(type, issued, now);
  return body;
}

/**
 * A ticket that takes another node's place ends that one: only who may revoke it can sign such a ticket.
 * @throws SkeinError DOC_*
 */
export function openReplacement(charter: Charter, source: unknown, replaced: Identity): Opened<"ticket.1"> {
  return openEnvelope(source, "ticket.1", keysToEnd(charter, replaced), 1);
}

/** A ticket's digest without a look at its signatures: its name in the store and in an enrolment. */
export function ticketDigest(source: unknown): Digest {
  return digestOfEnvelope(parseEnvelope(source));
}

type Labels = Readonly<Record<string, string>>;

/** What is given, and what is taken: a right to one label is none to remove another. */
function changedLabels(before: Labels, after: Labels): readonly [Labels, Labels] {
  const missing = (from: Labels, other: Labels): Labels =>
    Object.fromEntries(Object.entries(from).filter(([key, value]) => other[key] !== value));
  return [missing(after, before), missing(before, after)];
}

/** Who may end this identity: admins, and operators who may give all of its labels. */
function keysToEnd(charter: Charter, { labels }: Identity): Keys {
  return new Map([...keysWith(charter, { kind: "admin" }), ...keysWith(charter, { kind: "enrol", labels })]);
}

function inAll([first, ...rest]: readonly Keys[]): Keys {
  return new Map([...(first ?? [])].filter(([kid]) => rest.every((keys) => keys.has(kid))));
}

function keyMap(...keys: PublicKey[]): Keys {
  return new Map(keys.map((key) => [keyIdOf(key), key]));
}

function bad(why: string): SkeinError {
  return new SkeinError("TICKET_BAD", `the ticket cannot be used: ${why}`);
}

function notFor(type: string, node: KeyId, current: Identity): SkeinError {
  return new SkeinError("ORDER_NOT_FOR_NODE", `a ${type} of another node`, {
    data: { node, self: current.node },
  });
}
