/**
 * The rollout controller: for every app and environment it paces the newest order, and the older ones that nodes may
 * still come to. Every decision is made from what is written in the store and written before it shows, so that ending
 * this process between any two writes changes nothing but when the rest happens. What decides is in ../rollout/.
 */
import { setTimeout } from "node:timers/promises";
import type { Progress } from "../../api/field-schemas.ts";
import type { RolloutView, Steering } from "../../api/schemas.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import type { Digest, KeyId } from "../../lib/text/ids.ts";
import { until } from "../../lib/time/until.ts";
import type { Facts } from "../../rollout/facts.ts";
import { canPlan, NO_LAYOUT, planOf, type Layout, type Plan } from "../../rollout/plan.ts";
import { gateOf, isUnderWay, newRollout, type Gate, type Rollout } from "../../rollout/rollout.ts";
import { steer } from "../../rollout/steer.ts";
import { overtaken, step, wakeAt } from "../../rollout/step.ts";
import type { Order } from "../../trust/document/documents.ts";
import type { Identity } from "../../trust/members/identity.ts";
import { put, unchanged, type Core } from "../records/core.ts";
import type { Rollouts, ViewNews } from "../orders/gates.ts";
import { keys, type OrderRecord } from "../records/keys.ts";
import type { Nodes } from "../cluster/nodes.ts";
import type { Orders } from "../orders/orders.ts";
import type { Presence } from "../cluster/presence.ts";
import { pruneOrders } from "../orders/prune.ts";
import { Case, type CaseParts } from "./rollout-case.ts";
import { recordOfPlan, recordOfRollout } from "../records/rollout-record.ts";
import { Watchful } from "./watchful.ts";
import { viewOf } from "./rollout-view.ts";

export interface RolloutParts {
  readonly core: Pick<Core, "store" | "mirror" | "clock" | "lived" | "log" | "lanes" | "signal">;
  readonly orders: Pick<
    Orders,
    "appEnvs" | "head" | "log" | "find" | "body" | "roster" | "settle" | "publishSettle"
  >;
  readonly nodes: Pick<Nodes, "members" | "revoked">;
  readonly presence: Pick<Presence, "present" | "hasReported" | "app">;
  /** Which processes of the order's release look up which, and where they run. Default: none does. */
  readonly layoutOf?: (order: Order) => Promise<Layout>;
  /** Per app and environment, beside those that nodes may still come to. Default 100. */
  readonly ordersKept?: number;
}

/** How long to wait after a pass that failed (a full disk) before the next. */
const RETRY_MS = 1000;
/** The longest sleep: deadlines lie hours ahead, and a clock may be set meanwhile. */
const LOOK_MS = 60_000;
/** A shorter pass needs no rest after it. */
const LONG_PASS_MS = 50;
/** What changed within this is told together to who follows an order, and so often it is seen who came or went. */
const GATHER_MS = 250;
/** What of the store rollouts are decided by. */
const NEWS: ReadonlySet<string> = new Set(["receipts", "orders", "settles", "nodes", "rollouts", "charters"]);
/** Decisions taken in one pass before they are written. */
const STEPS = 100;

/** Starts pacing; until the first pass has ended every order is held. */
export function startRollouts(parts: RolloutParts): Rollouts {
  return new Controller(parts);
}

class Controller implements Rollouts {
  readonly #parts: RolloutParts;
  readonly #watchful: Watchful;
  readonly #cases = new Map<Digest, Case>();
  readonly #stop = new AbortController();
  readonly #unfollow: () => void;
  readonly #running: Promise<void>;
  /** What cases look at: the members are gathered once for all of them, until nodes change. */
  readonly #shared: CaseParts;
  #members: ReadonlyMap<KeyId, Identity> | undefined;
  /** The orders that matter, until orders or settles change. */
  #wanted: ReadonlyMap<Digest, OrderRecord> | undefined;
  /** Receipts to read: order → nodes. */
  readonly #receipts = new Map<string, Set<string>>();
  #wake = Promise.withResolvers<undefined>();

  constructor(parts: RolloutParts) {
    this.#parts = parts;
    const members = (): ReadonlyMap<KeyId, Identity> =>
      (this.#members ??= new Map(parts.nodes.members().map((one) => [one.node, one])));
    this.#shared = { ...parts, nodes: { members, revoked: (node) => parts.nodes.revoked(node) } };
    this.#watchful = new Watchful(parts.core);
    this.#unfollow = parts.core.mirror.onChange((changed) => this.#note(changed));
    this.#running = this.#run(AbortSignal.any([this.#stop.signal, parts.core.signal]));
  }

  gateFor(order: Digest, node: KeyId): Gate {
    const one = this.#cases.get(order);
    const rollout = one?.rollout;
    return one === undefined || rollout === undefined ? "hold" : gateOf(rollout, node, one.serving(node));
  }

  isDecided(order: Digest): boolean {
    return this.#cases.get(order)?.rollout !== undefined;
  }

  underWay(order: Digest): boolean {
    const rollout = this.#cases.get(order)?.rollout;
    if (rollout !== undefined) return isUnderWay(rollout);
    // Not looked at yet: what was just published, or what a hub that just started has not come to.
    const { core, orders } = this.#parts;
    const record = core.mirror.get(keys.rollout(order));
    return record === undefined ? orders.find(order) !== undefined : record.ended === null && !record.stuck;
  }

  async view(order: Digest): Promise<RolloutView | undefined> {
    const one = await this.#caseOf(order);
    one?.lookAround();
    return one === undefined ? undefined : viewOf(one);
  }

  async nextView(
    order: Digest,
    { after, waitMs }: ViewNews,
    signal: AbortSignal,
  ): Promise<RolloutView | undefined> {
    const { lived } = this.#parts.core;
    const asked = lived.now();
    for (let one = await this.#caseOf(order); one !== undefined; one = await this.#caseOf(order)) {
      one.lookAround();
      const gatherMs = Math.max(GATHER_MS, one.members.length);
      const leftMs = asked + (one.version === after ? waitMs : Math.min(waitMs, gatherMs)) - lived.now();
      if (isOver(one) || leftMs <= 0) return viewOf(one);
      // What is news already may be told with more; the end is told at once.
      const isEnough = one.version === after ? () => true : () => isOver(one);
      await this.#changed(one, Math.min(leftMs, GATHER_MS), isEnough, signal);
      signal.throwIfAborted();
    }
    return undefined;
  }

  async steer(order: Digest, word: Steering, said?: string): Promise<void> {
    await this.#parts.core.lanes.run(`rollout ${order}`, async () => {
      const one = await this.#caseOf(order);
      if (one === undefined) throw new SkeinError("NOT_FOUND", "the hub has no such order");
      if (one.rollout === undefined) await this.#begin(one, false);
      const { rollout, plan } = one;
      if (rollout === undefined || plan === undefined) return;
      const scene = { plan, limits: one.limits, facts: one.facts(this.#watchful.since) };
      const next = steer(rollout, word, scene, said);
      if (next !== rollout) await this.#write(one, next);
    });
  }

  progress(node: KeyId, progress: readonly Progress[]): void {
    for (const item of progress) this.#cases.get(item.order)?.heard(node, item);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#unfollow();
    this.#stop.abort();
    await this.#running;
  }

  // Private

  /** Until it changed so that that is enough, or `ms` are over. */
  async #changed(one: Case, ms: number, isEnough: () => boolean, signal: AbortSignal): Promise<void> {
    using nap = until([signal]);
    const slept = this.#parts.core.clock.sleep(ms, nap.signal).then(nap.abort, nap.abort);
    do await Promise.race([one.change, slept]);
    while (!nap.signal.aborted && !isEnough());
    nap.abort();
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const { promise: news } = (this.#wake = Promise.withResolvers<undefined>());
      const began = performance.now();
      const waitMs = await this.#pass().catch((err: unknown) => {
        if (isSkeinError(err, "STORE_CLOSED")) this.#stop.abort();
        else this.#parts.core.log.error("a pass over the rollouts failed", { err: String(err) });
        return RETRY_MS;
      });
      await breathe(performance.now() - began, signal);
      using over = until([signal]);
      const sleep = this.#parts.core.clock.sleep(waitMs, over.signal).catch(() => undefined);
      await Promise.race([news, sleep]);
      over.abort();
      await sleep;
    }
  }

  #note(changed: readonly string[]): void {
    let news = false;
    for (const key of changed) {
      const [, folder = "", id = "", what = ""] = key.split("/");
      if (folder === "receipts") this.#receipts.set(id, (this.#receipts.get(id) ?? new Set()).add(what));
      if (isOfMembers(folder, what)) this.#members = undefined;
      if (folder === "orders" || folder === "settles") this.#wanted = undefined;
      news ||= NEWS.has(folder);
    }
    if (news) this.#wake.resolve(undefined);
  }

  /** Looks at every order that matters. @returns how long until the next look, if there is no news */
  async #pass(): Promise<number> {
    this.#watchful.look();
    await this.#readReceipts();
    const wanted = this.#wanted ?? (await this.#looked());
    let waitMs = LOOK_MS;
    for (const record of wanted.values()) {
      const one = this.#cases.get(record.digest) ?? (await this.#open(record));
      if (one === undefined) continue;
      this.#cases.set(record.digest, one);
      const advance = async (): Promise<number> => await this.#advance(one);
      waitMs = Math.min(waitMs, await this.#parts.core.lanes.run(`rollout ${one.digest}`, advance));
    }
    return waitMs;
  }

  /** What matters from now on; what does not, is forgotten. */
  async #looked(): Promise<ReadonlyMap<Digest, OrderRecord>> {
    const wanted = this.#ordersThatMatter();
    // Before they are pruned: what changes meanwhile is looked at in the next pass.
    this.#wanted = wanted;
    await pruneOrders(this.#parts, wanted, this.#parts.ordersKept).catch((err: unknown) => {
      this.#wanted = undefined;
      throw err;
    });
    for (const digest of this.#cases.keys()) if (!wanted.has(digest)) this.#cases.delete(digest);
    return wanted;
  }

  /** Per selector the newest order and the newest that stands; another selector may name other nodes. */
  #ordersThatMatter(): Map<Digest, OrderRecord> {
    const { orders } = this.#parts;
    const wanted = new Map<Digest, OrderRecord>();
    for (const place of orders.appEnvs()) {
      const [seen, standing] = [new Set<string>(), new Set<string>()];
      for (const record of orders.log(place)) {
        const { selector } = orders.body(record);
        const stands = orders.settle(record.digest)?.published === true;
        if (!seen.has(selector) || (stands && !standing.has(selector))) wanted.set(record.digest, record);
        seen.add(selector);
        if (stands) standing.add(selector);
      }
    }
    return wanted;
  }

  async #open(record: OrderRecord): Promise<Case | undefined> {
    const order = this.#parts.orders.body(record);
    const roster = await this.#parts.orders.roster(order.roster);
    if (roster === undefined) return undefined;
    const one = new Case(this.#shared, record.digest, order, roster);
    await one.readReceipts();
    return one;
  }

  async #caseOf(digest: Digest): Promise<Case | undefined> {
    const known = this.#cases.get(digest);
    if (known !== undefined) return known;
    const record = this.#parts.orders.find(digest);
    return record === undefined ? undefined : await this.#open(record);
  }

  /** One that the store refuses now is read in the next pass: nobody tells of it again. */
  async #readReceipts(): Promise<void> {
    for (const [order, nodes] of this.#receipts) {
      const one = this.#cases.get(order as Digest);
      for (const node of one === undefined ? [] : nodes) {
        // Before it is read: it may change meanwhile.
        nodes.delete(node);
        await one?.readReceipt(node).catch((err: unknown) => {
          nodes.add(node);
          throw err;
        });
      }
      if (one === undefined || nodes.size === 0) this.#receipts.delete(order);
    }
  }

  /** @returns how long until the next look, if there is no news */
  async #advance(one: Case): Promise<number> {
    const plan = one.rollout === undefined && !this.#ready(one) ? undefined : await this.#begin(one, true);
    // It waits for the nodes, or until it is clear that they do not come.
    if (plan === undefined) return RETRY_MS;
    for (let current = one.rollout; current !== undefined;) {
      const facts = one.facts(this.#watchful.since);
      const next = this.#decide(one, { plan, facts }, current);
      if (!(await this.#settled(one, next)) || next === current) {
        const at = wakeAt(current, { plan, limits: one.limits, facts });
        return at === undefined ? LOOK_MS : Math.max(1, at - facts.now);
      }
      await this.#write(one, next);
      current = one.rollout;
    }
    return RETRY_MS;
  }

  /** Is it known who is there? */
  #ready(one: Case): boolean {
    const facts = one.facts(this.#watchful.since);
    return facts.settle?.published === true || canPlan(one.members, facts);
  }

  /**
   * Writes the plan and how the rollout begins, where there is none; one that cannot be paced ends at once.
   * @param touched with the first decision: both at once, so that nodes are not told to wait only to be told to go.
   * An end is never written here, since its settle comes before it
   */
  async #begin(one: Case, touched: boolean): Promise<Plan | undefined> {
    if (one.rollout !== undefined) return one.plan;
    const { core } = this.#parts;
    const facts = one.facts(this.#watchful.since);
    const [plan, untouched] = await this.#planned(one, facts);
    const first = touched ? this.#decide(one, { plan, facts }, untouched) : untouched;
    const rollout = first.ended === null ? first : untouched;
    faultPoint("rollout.plan");
    const { revision } = await core.store.txn({
      compare: [unchanged(keys.rollout(one.digest), 0)],
      then: [
        put(keys.plan(one.digest), recordOfPlan(plan, one.roster)),
        put(keys.rollout(one.digest), recordOfRollout(rollout, one.roster)),
      ],
    });
    await core.mirror.reached(revision);
    one.version += 1;
    return one.plan;
  }

  async #planned(one: Case, facts: Facts): Promise<[Plan, Rollout]> {
    const { layoutOf } = this.#parts;
    const rollout = newRollout(facts.now);
    try {
      if (one.refusal !== undefined) throw one.refusal;
      const layout = layoutOf === undefined ? NO_LAYOUT : await layoutOf(one.order);
      return [planOf(one.members, facts, one.limits, layout), rollout];
    } catch (err) {
      if (!isSkeinError(err)) throw err;
      const { code, message } = err;
      return [
        { batches: [], absent: [] },
        { ...rollout, ended: "failed", cause: { code, message } },
      ];
    }
  }

  #decide(
    one: Case,
    { plan, facts }: { readonly plan: Plan; readonly facts: Facts },
    from: Rollout,
  ): Rollout {
    const head = this.#parts.orders.head(one.place)?.digest;
    let next = head === one.digest || facts.settle?.published === true ? from : overtaken(from, facts);
    for (let steps = 0; steps < STEPS; steps++) {
      const before = next;
      next = step(before, { plan, limits: one.limits, facts });
      if (next === before) break;
    }
    return next;
  }

  /** Nobody sees the end before the settle counts; one that is handed in after the end is published then. */
  async #settled(one: Case, rollout: Rollout): Promise<boolean> {
    if (rollout.ended !== "ok") return true;
    const settle = this.#parts.orders.settle(one.digest);
    if (settle === undefined || settle.published) return true;
    faultPoint("rollout.settle");
    const published = await this.#parts.orders.publishSettle(one.digest);
    if (!published) this.#parts.core.log.warn("a settle is not proven yet", { order: one.digest });
    return published;
  }

  /** A lost race is nothing: the next pass decides anew, from what is written then. */
  async #write(one: Case, rollout: Rollout): Promise<void> {
    const { core } = this.#parts;
    const key = keys.rollout(one.digest);
    faultPoint("rollout.write");
    const { revision } = await core.store.txn({
      compare: [unchanged(key, core.mirror.entry(key).modRevision)],
      then: [put(key, recordOfRollout(rollout, one.roster))],
    });
    await core.mirror.reached(revision);
    faultPoint("rollout.written");
    one.version = Math.max(one.version + 1, revision);
  }
}

const isOver = ({ rollout }: Case): boolean => rollout !== undefined && !isUnderWay(rollout);

/** What a node says of itself, with every report, makes it no other member. */
function isOfMembers(folder: string, what: string): boolean {
  return folder === "charters" || (folder === "nodes" && what !== "view" && what !== "receipts");
}

/** With very many nodes there is always news: at most half of the time is spent on looking at it. */
async function breathe(tookMs: number, signal: AbortSignal): Promise<void> {
  if (tookMs >= LONG_PASS_MS) await setTimeout(tookMs, undefined, { signal }).catch(() => undefined);
}
