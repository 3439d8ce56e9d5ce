/** One order in the rollout controller's hands: what is known of it, gathered from the store and the nodes. */
import type { Progress } from "../../api/field-schemas.ts";
import type { AppOnNode } from "../../api/schemas.ts";
import { isSkeinError, type SkeinError } from "../../lib/errors/errors.ts";
import type { Digest, KeyId, AppEnv } from "../../lib/text/ids.ts";
import type { Facts, NodeFacts } from "../../rollout/facts.ts";
import { limitsOf, type Limits } from "../../rollout/limits.ts";
import type { Plan } from "../../rollout/plan.ts";
import type { Rollout } from "../../rollout/rollout.ts";
import type { Order, Receipt, Roster } from "../../trust/document/documents.ts";
import { MAX_AHEAD_MS } from "../../trust/charter/charter.ts";
import { readUnverified, type Envelope } from "../../trust/document/envelope.ts";
import { msOf } from "../../trust/document/fields.ts";
import type { Identity } from "../../trust/members/identity.ts";
import { matches, parseSelector, type Selector } from "../../trust/document/selector.ts";
import type { Core } from "../records/core.ts";
import { storedEnvelope } from "../records/envelopes.ts";
import { keys } from "../records/keys.ts";
import type { Orders } from "../orders/orders.ts";
import type { Presence } from "../cluster/presence.ts";
import { planOfRecord, rolloutOfRecord } from "../records/rollout-record.ts";

export interface CaseParts {
  readonly core: Pick<Core, "store" | "mirror" | "clock">;
  readonly orders: Pick<Orders, "settle" | "log" | "body">;
  readonly nodes: { members(): ReadonlyMap<KeyId, Identity>; revoked(node: KeyId): boolean };
  readonly presence: Pick<Presence, "present" | "hasReported" | "app">;
}

export class Case {
  readonly digest: Digest;
  readonly order: Order;
  readonly place: AppEnv;
  readonly selector: Selector;
  readonly limits: Limits;
  /** Why the order cannot be paced by this version, if it cannot. */
  readonly refusal: SkeinError | undefined;
  /** The roster's nodes that the selector names, in the roster's order. */
  readonly members: readonly KeyId[];
  readonly roster: readonly KeyId[];
  /** When a node last said something about the order. */
  heardAt = 0;
  readonly #parts: CaseParts;
  readonly #names: ReadonlyMap<KeyId, string>;
  #version: number;
  /** Made for whoever waits for it. */
  #change: PromiseWithResolvers<void> | undefined;
  readonly #receipts = new Map<KeyId, Receipt>();
  readonly #progress = new Map<KeyId, Progress>();
  #here = "";
  /** Whom the selector names: a changed identity is another object. */
  readonly #selected = new WeakMap<Identity, boolean>();
  #cached: { readonly modRevision: number; readonly rollout: Rollout } | undefined;
  #plan: Plan | undefined;

  constructor(parts: CaseParts, digest: Digest, order: Order, roster: Roster) {
    this.#parts = parts;
    this.digest = digest;
    this.order = order;
    this.place = { app: order.app, env: order.env };
    this.selector = parseSelector(order.selector);
    this.roster = roster.nodes.map(({ node }) => node);
    this.#names = new Map(roster.nodes.map(({ node, name }) => [node, name]));
    this.members = roster.nodes.filter((node) => matches(this.selector, node)).map(({ node }) => node);
    [this.limits, this.refusal] = limitsOrRefusal(order, this.members.length);
    this.#version = parts.core.mirror.revision;
  }

  /** Rises with everything that a view shows. */
  get version(): number {
    return this.#version;
  }

  set version(version: number) {
    this.#version = version;
    this.#change?.resolve();
    this.#change = undefined;
  }

  /** Resolves when the version rises next. */
  get change(): Promise<void> {
    return (this.#change ??= Promise.withResolvers()).promise;
  }

  /** What was decided so far; undefined before the first decision. */
  get rollout(): Rollout | undefined {
    const { value, modRevision } = this.#parts.core.mirror.entry(keys.rollout(this.digest));
    if (value === undefined) return undefined;
    if (this.#cached?.modRevision !== modRevision) {
      this.#cached = { modRevision, rollout: rolloutOfRecord(value, this.roster) };
    }
    return this.#cached.rollout;
  }

  get plan(): Plan | undefined {
    const record = this.#parts.core.mirror.get(keys.plan(this.digest));
    if (record !== undefined) this.#plan ??= planOfRecord(record, this.roster);
    return this.#plan;
  }

  nameOf(node: KeyId): string | undefined {
    return this.#names.get(node);
  }

  /** What the node said of the order at last; a refusal for the node's own clock says nothing of the order. */
  receipt(node: KeyId): Receipt | undefined {
    const receipt = this.#receipts.get(node);
    return receipt === undefined || isOfClock(receipt, this.#parts.core.clock.now()) ? undefined : receipt;
  }

  progress(node: KeyId): Progress | undefined {
    return this.#progress.get(node);
  }

  /** Where the node's bytes for this order came from, as it said last. */
  sources(node: KeyId): AppOnNode["sources"] {
    const app = this.#parts.presence.app(node, this.place.app, this.place.env);
    return app?.head === this.digest ? app.sources : undefined;
  }

  present(node: KeyId): boolean {
    return this.#parts.presence.present(node);
  }

  /** A restored hub may not know a node yet that the order was made for. */
  meant(node: KeyId): boolean {
    const { nodes } = this.#parts;
    const identity = nodes.members().get(node);
    return identity === undefined ? !nodes.revoked(node) : this.#selects(identity);
  }

  /** Nodes come and go without a word about the order in the store: whoever follows it is to see it. */
  lookAround(): void {
    const here = this.members.map((node) => `${this.present(node)} ${this.meant(node)}`).join();
    if (here !== this.#here) this.version += 1;
    this.#here = here;
  }

  async readReceipts(): Promise<void> {
    const { entries } = await this.#parts.core.store.range(keys.receipts(this.digest));
    for (const { value } of entries) this.#take(value);
  }

  async readReceipt(node: string): Promise<void> {
    const entry = await this.#parts.core.store.get(keys.receipt(this.digest, node));
    if (entry !== undefined) this.#take(entry.value);
  }

  heard(node: KeyId, progress: Progress): void {
    this.#progress.set(node, progress);
    this.heardAt = this.#parts.core.clock.now();
    this.version += 1;
  }

  /** @param since when the controller began to look */
  facts(since: number): Facts {
    const { core, orders } = this.#parts;
    const now = core.clock.now();
    this.heardAt = Math.min(this.heardAt, now);
    const settle = orders.settle(this.digest);
    const nodes = new Map(this.members.map((node) => [node, this.#node(node, this.#names.get(node) ?? "")]));
    if (settle?.published === true || this.rollout?.ended === "ok") this.#addLate(nodes);
    return {
      now,
      since,
      heardAt: this.heardAt,
      nodes,
      settle: settle === undefined ? null : this.#settle(settle.settle, settle.published),
      applyBefore: msOf(this.order.applyBefore),
      undoBefore: msOf(this.order.undoBefore),
    };
  }

  /** Whoever has not said what it runs is taken to run something: a returning node is paced from its first poll. */
  serving(node: KeyId): boolean {
    const { presence } = this.#parts;
    const { app, env } = this.place;
    return !presence.hasReported(node) || (presence.app(node, app, env)?.release ?? null) !== null;
  }

  #selects(identity: Identity): boolean {
    const known = this.#selected.get(identity) ?? matches(this.selector, identity);
    this.#selected.set(identity, known);
    return known;
  }

  #take(value: string): void {
    const receipt = readUnverified(storedEnvelope(value), "receipt.1");
    this.#receipts.set(receipt.node, receipt);
    this.heardAt = this.#parts.core.clock.now();
    this.version += 1;
  }

  #node(node: KeyId, name: string): NodeFacts {
    const receipt = this.receipt(node) ?? null;
    return {
      name,
      present: this.#parts.presence.present(node),
      meant: this.meant(node),
      serving: this.serving(node),
      receipt: receipt ?? this.#restored(node),
      unwell: receipt === null ? null : this.#unwell(node, receipt),
    };
  }

  /**
   * Both times are the node's own. What ailed what ran before the order is nobody's reason to take it back; what came
   * between the switch and the receipt is, and the node says so.
   */
  #unwell(node: KeyId, receipt: Receipt): string | null {
    const app = this.#parts.presence.app(node, this.place.app, this.place.env);
    const sign = app?.release === this.order.release ? app.unwell : undefined;
    if (sign === undefined) return null;
    return sign.order === this.digest || msOf(sign.at) > msOf(receipt.at) ? sign.message : null;
  }

  /** A store that was restored lacks receipts of what stands; what such a node runs says enough. */
  #restored(node: KeyId): NodeFacts["receipt"] {
    if (this.#parts.orders.settle(this.digest)?.published !== true) return null;
    const app = this.#parts.presence.app(node, this.place.app, this.place.env);
    const done = app?.head === this.digest && app.release === this.order.release;
    return done ? { verdict: "ok", code: null, message: null } : null;
  }

  /** Nodes that the selector names by now; those that a newer order names are that one's. */
  #addLate(nodes: Map<KeyId, NodeFacts>): void {
    const newer = this.#newerSelectors();
    for (const identity of this.#parts.nodes.members().values()) {
      const { node, name } = identity;
      const elsewhere = newer.some((selector) => matches(selector, identity));
      if (elsewhere) nodes.delete(node);
      else if (!nodes.has(node) && this.#selects(identity)) nodes.set(node, this.#node(node, name));
    }
  }

  /** Of the newer orders that were not taken back: nodes fall back to what stands below those. */
  #newerSelectors(): Selector[] {
    const { orders, core } = this.#parts;
    const log = orders.log(this.place);
    const own = log.findIndex(({ digest }) => digest === this.digest);
    const alive = log.slice(0, Math.max(0, own)).filter(({ digest }) => {
      const ended = core.mirror.get(keys.rollout(digest))?.ended;
      return ended !== "undone" && ended !== "failed";
    });
    return [...new Set(alive.map((record) => orders.body(record).selector))].map(parseSelector);
  }

  #settle(envelope: Envelope, published: boolean): Facts["settle"] {
    const { needs, before } = readUnverified(envelope, "settle.1");
    const beforeMs = msOf(before);
    const members = new Set(this.roster);
    const good = [...this.#receipts.values()].filter(
      (receipt) =>
        receipt.verdict === "ok" && receipt.release === this.order.release && members.has(receipt.node),
    );
    const late = good.flatMap(({ node, at }) => (msOf(at) < beforeMs ? [] : node));
    return { needs, have: good.length - late.length, late, published };
  }
}

/** The hub has taken the order: where it is from the future, or long over, the node's clock is wrong. */
function isOfClock({ verdict, code, at }: Receipt, now: number): boolean {
  if (verdict !== "refused") return false;
  return code === "DOC_FROM_FUTURE" || (code === "ORDER_EXPIRED" && msOf(at) > now + MAX_AHEAD_MS);
}

function limitsOrRefusal({ strategy, state }: Order, total: number): [Limits, SkeinError | undefined] {
  try {
    return [limitsOf(strategy, total, state), undefined];
  } catch (err) {
    if (!isSkeinError(err)) throw err;
    return [limitsOf({ ...strategy, type: "rolling" }, total, state), err];
  }
}
