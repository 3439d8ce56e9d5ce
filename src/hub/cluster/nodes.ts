/** Who belongs to the cluster: tickets, enrolments, labels, revocations. Every document is verified before it is kept. */
import type { NodeDocuments, TicketView } from "../../api/member-schemas.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { isKeyId, type KeyId } from "../../lib/text/ids.ts";
import type { Op } from "../../store/store.ts";
import { digestOfEnvelope, readUnverified, type Envelope } from "../../trust/document/envelope.ts";
import { msOf } from "../../trust/document/fields.ts";
import {
  openBirth,
  openLabel,
  openReplacement,
  openRevoke,
  openTicket,
  relabelled,
  type Identity,
} from "../../trust/members/identity.ts";
import { underChain } from "../../trust/charter/chain.ts";
import { keyIdOf } from "../../trust/keys/keys.ts";
import type { Charters } from "./charters.ts";
import { commit, put, unchanged, type Core } from "../records/core.ts";
import { keys, type TicketRecord } from "../records/keys.ts";

/**
 * So much higher a label's serial may be than the one before: many may have been lost with a hub's disk. Who may give
 * one label could else sign the last serial there is, and nobody could change the node's labels any more.
 */
const MOST_LEAP = 1000;

interface Resolved {
  readonly identity: Identity | undefined;
  /** Does the charter in force list who invited it? Else it is no member. */
  readonly isVouched: boolean;
  readonly isRevoked: boolean;
}

const STRANGER = { identity: undefined, isVouched: false } as const;
/** What decides who a node is; its own words do not. */
const PARTS: ReadonlySet<string> = new Set(["ticket", "enrol", "label", "revoke"]);

export class Nodes {
  readonly #core: Core;
  readonly #charters: Charters;
  /** Asked for with each look at a node: found out once, until one of its documents changes, or the charter. */
  readonly #resolved = new Map<string, Resolved>();
  #all: readonly KeyId[] | undefined;

  constructor(core: Core, charters: Charters) {
    this.#core = core;
    this.#charters = charters;
    core.mirror.onChange((changed) => this.#forget(changed));
  }

  /** A member's verified identity; undefined for strangers and for those that were revoked. */
  identity(node: KeyId): Identity | undefined {
    const { identity, isVouched, isRevoked } = this.#resolve(node);
    return isVouched && !isRevoked ? identity : undefined;
  }

  /** Who was let in by somebody whom a charter has dropped since, and is no member any more. */
  unvouched(): Identity[] {
    return this.all().flatMap((node) => {
      const { identity, isVouched, isRevoked } = this.#resolve(node);
      return isVouched || isRevoked ? [] : (identity ?? []);
    });
  }

  revoked(node: KeyId): boolean {
    return this.#resolve(node).isRevoked;
  }

  membership(node: KeyId): "member" | "revoked" | undefined {
    if (this.revoked(node)) return "revoked";
    return this.identity(node) === undefined ? undefined : "member";
  }

  /** Every node that ever enrolled, revoked ones included. */
  all(): readonly KeyId[] {
    if (this.#all !== undefined) return this.#all;
    const enrolled = this.#core.mirror.list(keys.nodes).filter(({ key }) => key.endsWith("/enrol"));
    return (this.#all = enrolled.map(({ key }) => key.split("/")[2] ?? "").filter(isKeyId));
  }

  members(): Identity[] {
    return this.all().flatMap((node) => this.identity(node) ?? []);
  }

  /** By name or key id. @throws SkeinError NODE_NOT_FOUND */
  find(name: string): KeyId {
    const named = this.#core.mirror.get(keys.name(name));
    if (named !== undefined) return named;
    if (isKeyId(name) && this.#core.mirror.get(keys.node(name, "enrol")) !== undefined) return name;
    throw new SkeinError("NODE_NOT_FOUND", `no node ${name}`, { data: { node: name } });
  }

  /** @throws SkeinError NODE_NOT_FOUND */
  documents(node: KeyId): NodeDocuments {
    const { mirror } = this.#core;
    const ticket = mirror.get(keys.node(node, "ticket"));
    const enrol = mirror.get(keys.node(node, "enrol"));
    if (ticket === undefined || enrol === undefined) {
      throw new SkeinError("NODE_NOT_FOUND", `no node ${node}`, { data: { node } });
    }
    const label = mirror.get(keys.node(node, "label")) ?? null;
    return { ticket, enrol, label, revoke: mirror.get(keys.node(node, "revoke")) ?? null };
  }

  /** @throws SkeinError NAME_TAKEN, TICKET_BAD, TICKET_EXPIRED, DOC_* */
  async postTicket(ticket: Envelope): Promise<TicketView> {
    const { charter, pin } = this.#charters.need();
    const opened = openTicket(charter, ticket, { pin, now: this.#core.clock.now() });
    const key = keys.ticket(opened.digest);
    await this.#core.lanes.run("nodes", async () => {
      if (this.#core.mirror.get(key) !== undefined) return;
      const { name, replace } = opened.body;
      if (name !== null) this.#refuseTaken(name, replace);
      this.#refuseReplacement(ticket, replace);
      const record: TicketRecord = { ticket, node: null };
      const join = keyIdOf({ alg: "raw", pub: opened.body.key });
      await commit(this.#core, [unchanged(key, 0)], [put(key, record), put(keys.join(join), opened.digest)]);
    });
    return this.ticket(opened.digest);
  }

  /** By digest or by the id of its join key. @throws SkeinError TICKET_BAD */
  ticket(name: string): TicketView {
    const { mirror, clock } = this.#core;
    const record = mirror.get(keys.ticket(mirror.get(keys.join(name)) ?? name));
    if (record === undefined) throw new SkeinError("TICKET_BAD", "the hub knows no such ticket");
    const { expires } = readUnverified(record.ticket, "ticket.1");
    const used = record.node !== null;
    const state = used ? "used" : clock.now() >= msOf(expires) ? "expired" : "open";
    return { ticket: record.ticket, state, node: record.node };
  }

  /**
   * Uses a ticket for the key that the caller holds. The very same enrolment again is no error.
   * @throws SkeinError TICKET_USED, TICKET_EXPIRED, TICKET_BAD, NAME_TAKEN, REVOKED, UNKNOWN_CLIENT, DOC_*
   */
  async enrol(enrol: Envelope, caller: KeyId): Promise<KeyId> {
    return await this.#core.lanes.run("nodes", async () => {
      const claimed = readUnverified(enrol, "enrol.1");
      const record = this.#core.mirror.get(keys.ticket(claimed.ticket));
      if (record === undefined) throw new SkeinError("TICKET_BAD", "the hub knows no such ticket");
      if (record.node === caller && this.#same(caller, enrol)) return caller;
      refuseUsed(record);
      return await this.#letIn(record.ticket, enrol, caller, { now: this.#core.clock.now() });
    });
  }

  /**
   * Takes up again who was let in before and is not in this store: that this was so, who calls this has found out. Its
   * ticket may have expired since. The very same enrolment again is no error.
   * @throws SkeinError TICKET_USED, TICKET_BAD, NAME_TAKEN, REVOKED, UNKNOWN_CLIENT, DOC_*
   */
  async takeBack(ticket: Envelope, enrol: Envelope, caller: KeyId): Promise<KeyId> {
    return await this.#core.lanes.run("nodes", async () => {
      if (!this.revoked(caller) && this.#same(caller, enrol)) return caller;
      return await this.#letIn(ticket, enrol, caller, {});
    });
  }

  /** @throws SkeinError NODE_NOT_FOUND, NAME_TAKEN, BAD_REQUEST, DOC_ROLLBACK, DOC_* */
  async postLabel(label: Envelope): Promise<void> {
    await this.#core.lanes.run("nodes", async () => {
      const { node } = readUnverified(label, "label.1");
      const current = this.identity(node);
      if (current === undefined)
        throw new SkeinError("NODE_NOT_FOUND", `no node ${node}`, { data: { node } });
      const key = keys.node(node, "label");
      const { value: stored, modRevision } = this.#core.mirror.entry(key);
      if (stored !== undefined && digestOfEnvelope(stored) === digestOfEnvelope(label)) return;
      const { charter, pin } = this.#charters.need();
      const now = this.#core.clock.now();
      // Whoever missed those in between, or meets the node now, judges it by the birth certificate.
      openLabel(charter, label, openBirth(charter, this.documents(node), { pin }).identity, now);
      const next = relabelled(current, openLabel(charter, label, current, now));
      refuseLeap(next, current);
      this.#refuseTaken(next.name, node);
      const renamed: Op[] =
        next.name === current.name
          ? []
          : [{ op: "delete", key: keys.name(current.name) }, put(keys.name(next.name), node)];
      await commit(this.#core, [unchanged(key, modRevision)], [put(key, label), ...renamed]);
    });
  }

  /** @throws SkeinError NODE_NOT_FOUND, DOC_* */
  async postRevocation(revoke: Envelope): Promise<void> {
    await this.#core.lanes.run("nodes", async () => {
      const { node } = readUnverified(revoke, "revoke.1");
      if (this.revoked(node)) return;
      const current = this.#resolve(node).identity;
      if (current === undefined)
        throw new SkeinError("NODE_NOT_FOUND", `no node ${node}`, { data: { node } });
      const { charter } = this.#charters.need();
      openRevoke(charter, revoke, current, this.#core.clock.now());
      await commit(this.#core, [], this.#ending(node, revoke, current.name));
    });
  }

  /** @param options now: its ticket is used now, and must not have expired */
  async #letIn(
    source: Envelope,
    enrol: Envelope,
    caller: KeyId,
    options: { readonly now?: number },
  ): Promise<KeyId> {
    const { charter, pin } = this.#charters.need();
    const { identity, ticket, ticketDigest } = openBirth(
      charter,
      { ticket: source, enrol },
      { pin, ...options },
    );
    const key = keys.ticket(ticketDigest);
    const { value: record, modRevision } = this.#core.mirror.entry(key);
    const { node, name } = identity;
    this.#refuseKey(node, caller);
    refuseUsed(record);
    this.#refuseTaken(name, ticket.replace);
    this.#refuseReplacement(source, ticket.replace);
    faultPoint("hub.enrol");
    await commit(
      this.#core,
      [unchanged(key, modRevision), unchanged(keys.node(node, "enrol"), 0)],
      [
        put(key, { ticket: source, node } satisfies TicketRecord),
        put(keys.join(keyIdOf({ alg: "raw", pub: ticket.key })), ticketDigest),
        put(keys.node(node, "ticket"), source),
        put(keys.node(node, "enrol"), enrol),
        put(keys.name(name), node),
        { op: "delete", key: keys.change(node) },
        ...this.#replacing(ticket.replace, source, name),
      ],
    );
    return node;
  }

  #resolve(node: KeyId): Resolved {
    const known = this.#resolved.get(node);
    if (known !== undefined) return known;
    const { mirror } = this.#core;
    const isRevoked = mirror.get(keys.node(node, "revoke")) !== undefined;
    if (mirror.get(keys.node(node, "enrol")) === undefined) return { ...STRANGER, isRevoked };
    const resolved = { ...this.#verify(node, mirror.get(keys.node(node, "label"))), isRevoked };
    this.#resolved.set(node, resolved);
    return resolved;
  }

  #forget(changed: readonly string[]): void {
    for (const key of changed) {
      if (key.startsWith(keys.charters)) this.#resolved.clear();
      if (!key.startsWith(keys.nodes)) continue;
      const [, , node = "", part = ""] = key.split("/");
      if (PARTS.has(part)) this.#resolved.delete(node);
      if (part === "enrol") this.#all = undefined;
    }
  }

  /** Under the current charter, as everybody else sees it: a birth that it no longer vouches for makes no member. */
  #verify(node: KeyId, label: Envelope | undefined): Omit<Resolved, "isRevoked"> {
    try {
      const { charter: current, pin } = this.#charters.need();
      const documents = this.documents(node);
      const { opened, charter } = underChain(this.#charters.chain(), (one) =>
        openBirth(one, documents, { pin }),
      );
      const { identity } = opened;
      const isVouched = charter === current;
      if (!isVouched) this.#core.log.warn("who invited a node was dropped", { node, name: identity.name });
      if (label === undefined) return { identity, isVouched };
      // Verified when it was posted, against the labels of that time; those of the birth would be the wrong measure.
      const { name, labels, serial } = readUnverified(label, "label.1");
      return { identity: { node, name, labels, serial }, isVouched };
    } catch (err) {
      this.#core.log.warn("a node's documents do not verify", { node, err });
      return STRANGER;
    }
  }

  #same(node: KeyId, enrol: Envelope): boolean {
    const stored = this.#core.mirror.get(keys.node(node, "enrol"));
    return stored !== undefined && digestOfEnvelope(stored) === digestOfEnvelope(enrol);
  }

  #refuseKey(node: KeyId, caller: KeyId): void {
    if (node !== caller) {
      throw new SkeinError(
        "UNKNOWN_CLIENT",
        "a node enrols itself: the connection must use the enrolled key",
      );
    }
    // Of a node that is not here the right to end it cannot be judged: what an operator signed holds it off.
    const heard = this.#core.mirror.get(keys.change(node))?.revoke ?? null;
    if (this.revoked(node) || heard !== null)
      throw new SkeinError("REVOKED", "this key was revoked; a new one must be made");
    if (this.#core.mirror.get(keys.node(node, "enrol")) !== undefined) {
      throw new SkeinError("TICKET_BAD", "this key is enrolled already");
    }
  }

  #refuseTaken(name: string, except: KeyId | null): void {
    const holder = this.#core.mirror.get(keys.name(name));
    if (holder === undefined || holder === except) return;
    throw new SkeinError("NAME_TAKEN", `there is a node ${name}`, { data: { name, node: holder } });
  }

  /** What was revoked already, nobody ends any more. */
  #refuseReplacement(ticket: Envelope, old: KeyId | null): void {
    const replaced = old === null || this.revoked(old) ? undefined : this.#resolve(old).identity;
    if (replaced !== undefined) openReplacement(this.#charters.need().charter, ticket, replaced);
  }

  /** A ticket that replaces a node ends the old identity in the moment that the new one begins. */
  #replacing(old: KeyId | null, ticket: Envelope, newName: string): Op[] {
    if (old === null || this.revoked(old)) return [];
    const { identity } = this.#resolve(old);
    if (identity === undefined) return [];
    return this.#ending(old, ticket, identity.name === newName ? undefined : identity.name);
  }

  #ending(node: KeyId, proof: Envelope, name: string | undefined): Op[] {
    const holder = name === undefined ? undefined : this.#core.mirror.get(keys.name(name));
    return [
      put(keys.node(node, "revoke"), proof),
      { op: "deletePrefix", prefix: keys.ports(node) },
      ...(name !== undefined && holder === node ? [{ op: "delete", key: keys.name(name) } as const] : []),
    ];
  }
}

function refuseUsed(record: TicketRecord | undefined): void {
  if (record !== undefined && record.node !== null)
    throw new SkeinError("TICKET_USED", "the ticket was used before");
}

function refuseLeap({ serial }: Identity, current: Identity): void {
  if (serial - current.serial <= MOST_LEAP) return;
  throw new SkeinError("BAD_REQUEST", `label ${serial} of ${current.name}, which has ${current.serial}`, {
    data: { node: current.node, serial, current: current.serial },
  });
}
