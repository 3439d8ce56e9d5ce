/**
 * What one node should run, as a level: whoever missed everything converges from one answer. Only documents that it
 * can verify itself, and the gates that pace it. A poll waits until the answer differs from the one that it knows.
 */
import type { InstanceReport } from "../../api/field-schemas.ts";
import type { Wanted } from "../../api/schemas.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { type Digest, type KeyId, type AppEnv } from "../../lib/text/ids.ts";
import type { Envelope } from "../../trust/document/envelope.ts";
import type { Identity } from "../../trust/members/identity.ts";
import { matches, parseSelector, type Selector } from "../../trust/document/selector.ts";
import type { CatchUp } from "../cluster/catch-up.ts";
import { isChange, type Changes } from "../cluster/changes.ts";
import type { Charters } from "../cluster/charters.ts";
import type { Commands } from "../commands/commands.ts";
import type { Core } from "../records/core.ts";
import type { Gates } from "../orders/gates.ts";
import { keys, type OrderRecord, type SettleRecord } from "../records/keys.ts";
import type { Nodes } from "../cluster/nodes.ts";
import type { Orders } from "../orders/orders.ts";
import type { Presence } from "../cluster/presence.ts";
import type { Receipts } from "../orders/receipts.ts";
import type { Releases } from "../orders/releases.ts";
import { Contents, type AnswerStuff, type AppStuff } from "./contents.ts";
import { Told } from "./told.ts";
import type { Answer } from "./wanted-answer.ts";

export interface WantedParts {
  readonly core: Core;
  readonly charters: Charters;
  readonly nodes: Nodes;
  readonly changes: Changes;
  readonly orders: Orders;
  readonly releases: Releases;
  readonly receipts: Receipts;
  readonly presence: Presence;
  readonly commands: Commands;
  readonly catchUp: CatchUp;
  readonly gates: Gates;
}

/** What of the store can change an answer; a node's own keys are looked at apart. */
const RELEVANT = ["/charters/", "/orders/", "/settles/", "/rollouts/", "/releases/", "/meta/"] as const;
/** How long an answer waits for the first decision about an order in it: mostly some ms, more for a large tree. */
const DECISION_MS = 1500;

/** What an answer is made of: little work, where making it is much. */
interface Stuff extends AnswerStuff {
  /** Differs where the answer would. */
  readonly stamp: string;
  /** Differs where more than a settle does: then the answer cannot wait. */
  readonly urgent: string;
}

type News = "none" | "settle" | "urgent";

export class WantedDesk {
  /** What each node was told last. */
  readonly told = new Told();
  readonly #parts: WantedParts;
  /** What wakes each waiting poll: with `false` it is over. */
  readonly #waiting = new Map<KeyId, Set<(again: boolean) => void>>();
  readonly #selectors = new Map<string, Selector>();
  /** Which of them name whom: many orders have one selector, and a changed identity is another object. */
  readonly #matching = new WeakMap<Identity, Map<string, boolean>>();
  /** Of the last answer that was made for a node, and its etag. */
  readonly #made = new Map<KeyId, Pick<Stuff, "stamp" | "urgent"> & { readonly etag: string }>();
  readonly #numbers = new Numbers();
  readonly #contents: Contents;

  constructor(parts: WantedParts) {
    this.#parts = parts;
    this.#contents = new Contents(parts.orders);
    parts.core.mirror.onChange((changed) => this.#wakeFor(changed));
  }

  /** The answer, once it differs from `etag` or `waitMs` are over. @returns undefined when it does not differ */
  async poll(
    node: KeyId,
    etag: string | undefined,
    waitMs: number,
    signal: AbortSignal,
  ): Promise<Answer | undefined> {
    let until = performance.now() + waitMs;
    let ripe = Infinity;
    for (;;) {
      const wake = this.#nextNews(node, signal);
      try {
        const stuff = this.#stuffFor(node);
        const news = this.#newsIn(stuff, node, etag);
        const isUrgent = news === "urgent";
        // A node that is told of an order and then that it may start it is told twice.
        if (isUrgent) ripe = Math.min(ripe, performance.now() + Math.min(waitMs, DECISION_MS));
        const leftMs = (isUrgent ? ripe : until) - performance.now();
        if (leftMs <= 0 || (isUrgent && this.#isDecided(stuff))) {
          const answer = await this.#answer(node, stuff, news);
          if (answer === undefined || answer.content.etag !== etag) return answer;
          // It was told before this hub started.
          ripe = Infinity;
        } else if (!(await wake.within(leftMs)) && !isUrgent) {
          if (news === "none") return undefined;
          until = 0;
        }
      } finally {
        wake.stop();
      }
      signal.throwIfAborted();
    }
  }

  /** Does a poll of this node wait for news? */
  isWaiting(node: KeyId): boolean {
    return this.#waiting.has(node);
  }

  /** Lets polls look again: something that is not in the store changed. `undefined`: all of them. */
  wake(node?: KeyId): void {
    const sets = node === undefined ? [...this.#waiting.values()] : [this.#waiting.get(node) ?? []];
    for (const set of sets) for (const wake of set) wake(true);
  }

  /** Answers waiting polls of a node as if their time were over: whoever asked and lives asks again. */
  dismiss(node: KeyId): void {
    for (const wake of this.#waiting.get(node) ?? []) wake(false);
  }

  /** Head, then standing, among the orders whose selector names this node. */
  ordersFor(identity: Identity, place: AppEnv): OrderRecord[] {
    let head: OrderRecord | undefined;
    for (const record of this.#parts.orders.log(place)) {
      if (!this.#concerns(identity, record)) continue;
      const stands = this.#published(record) !== undefined;
      if (stands) return head === undefined ? [record] : [head, record];
      head ??= record;
    }
    return head === undefined ? [] : [head];
  }

  /** The newest order of each app that names this node. */
  headsFor(node: KeyId): OrderRecord[] {
    const { nodes, orders, presence } = this.#parts;
    const identity = nodes.identity(node);
    if (identity === undefined || presence.duplicate(node)) return [];
    return orders.appEnvs().flatMap((place) => this.ordersFor(identity, place).slice(0, 1));
  }

  #stuffFor(node: KeyId): Stuff {
    const { core, charters, nodes, changes, presence, commands, catchUp, orders } = this.#parts;
    const identity = nodes.identity(node);
    if (identity === undefined) throw gone(core, node);
    const duplicate = presence.duplicate(node);
    const places = duplicate ? [] : orders.appEnvs();
    const own = {
      incarnation: core.store.incarnation,
      catchingUp: catchUp.on,
      members: changes.revision,
      duplicate,
      charters: charters.after(0),
      identity: nodes.documents(node),
    };
    const documents = this.#numbers.of([...own.charters, ...Object.values(own.identity)]);
    const ownStamp = [own.catchingUp, own.members, duplicate, documents].join(" ");
    const apps = places.flatMap((place) => this.#appStuff(identity, place) ?? []);
    const open = commands.openFor(node);
    const common = [ownStamp, this.#numbers.of(open)];
    return {
      own,
      ownStamp,
      apps,
      commands: open,
      stamp: [...common, ...apps.map((app) => app.stamp)].join(" "),
      urgent: [...common, ...apps.map((app) => this.#urgentIn(app))].join(" "),
    };
  }

  #urgentIn({ place, records: [head], gates }: AppStuff): string {
    if (head === undefined) return "";
    return `${gates[head.digest]} ${this.#numbers.of([head, ...this.#releasesOf(place, [head])])}`;
  }

  #appStuff(identity: Identity, place: AppEnv): AppStuff | undefined {
    const records = this.ordersFor(identity, place);
    const { gates } = this.#parts;
    const digests = [...records.map(({ digest }) => digest), ...this.#toUndo(identity, place, records)];
    if (digests.length === 0) return undefined;
    const told = {
      settles: records.flatMap((record) => this.#published(record) ?? []),
      releases: this.#releasesOf(place, records),
      gates: Object.fromEntries(digests.map((digest) => [digest, gates.gateFor(digest, identity.node)])),
    };
    const numbers = this.#numbers.of([...records, ...told.settles, ...told.releases]);
    const stamp = `${place.app}/${place.env} ${Object.entries(told.gates).join(" ")} ${numbers}`;
    return { place, records, ...told, stamp };
  }

  /** An order that the node began while it was named by it, and that is taken back now. */
  #toUndo(identity: Identity, { app, env }: AppEnv, named: readonly OrderRecord[]): Digest[] {
    const { orders, presence, gates } = this.#parts;
    const head = presence.app(identity.node, app, env)?.head ?? null;
    if (head === null || named.some(({ digest }) => digest === head)) return [];
    const record = orders.find(head);
    if (record === undefined || this.#concerns(identity, record)) return [];
    return gates.gateFor(record.digest, identity.node) === "undo" ? [record.digest] : [];
  }

  #releasesOf({ app }: AppEnv, records: readonly OrderRecord[]): Envelope[] {
    const { orders, releases } = this.#parts;
    const ids = records.flatMap((record) => {
      const { release, fallback, beside } = orders.body(record);
      return [release, ...beside, ...(fallback === null ? [] : [fallback])];
    });
    return [...new Set(ids)].flatMap((id) => releases.get(app, id) ?? []);
  }

  async #answer(node: KeyId, stuff: Stuff, news: News): Promise<Answer | undefined> {
    if (news === "none") return undefined;
    const { content, fields } = await this.#contents.of(node, stuff);
    const { stamp, urgent } = stuff;
    this.#made.set(node, { stamp, urgent, etag: content.etag });
    const whole = async (): Promise<Wanted> => {
      return { etag: content.etag, ...fields, lastReceipts: this.#parts.receipts.own(node) };
    };
    return { content, whole };
  }

  /**
   * What is new since the answer of this etag. A settle that the node can do without for a while is not urgent: it makes
   * what the node runs stand, so it goes with the next news, or ends the poll in place of none.
   */
  #newsIn({ stamp, urgent, apps }: Stuff, node: KeyId, etag: string | undefined): News {
    const made = this.#made.get(node);
    if (made?.etag !== etag) return "urgent";
    if (made?.stamp === stamp) return "none";
    const canWait = made?.urgent === urgent && !apps.some((app) => this.#isAwaited(node, app));
    return canWait ? "settle" : "urgent";
  }

  /** What is left of an earlier release ends with the settle; and who does not run the head may look at what stands. */
  #isAwaited(node: KeyId, { place, records: [head], gates }: AppStuff): boolean {
    if (head === undefined || gates[head.digest] !== "go") return true;
    const { release } = this.#parts.orders.body(head);
    const isLeft = (one: InstanceReport): boolean =>
      one.app === place.app && one.env === place.env && one.release !== release;
    return this.#parts.core.mirror.list(keys.ports(node)).some(({ value }) => isLeft(value));
  }

  #isDecided({ apps }: Stuff): boolean {
    return apps.every(({ gates }) =>
      Object.entries(gates).every(
        ([order, gate]) => gate !== "hold" || this.#parts.gates.isDecided(order as Digest),
      ),
    );
  }

  #published({ digest }: OrderRecord): SettleRecord | undefined {
    const settle = this.#parts.orders.settle(digest);
    return settle?.published === true ? settle : undefined;
  }

  #concerns(identity: Identity, record: OrderRecord): boolean {
    const { selector } = this.#parts.orders.body(record);
    const known = this.#matching.get(identity) ?? new Map<string, boolean>();
    this.#matching.set(identity, known);
    const is = known.get(selector) ?? matches(this.#selectorOf(selector), identity);
    known.set(selector, is);
    return is;
  }

  #selectorOf(text: string): Selector {
    const selector = this.#selectors.get(text) ?? parseSelector(text);
    this.#selectors.set(text, selector);
    return selector;
  }

  #nextNews(node: KeyId, signal: AbortSignal): { within(ms: number): Promise<boolean>; stop(): void } {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const wake = (again: boolean): void => resolve(again);
    const aborted = (): void => resolve(true);
    const set = this.#waiting.get(node) ?? new Set();
    this.#waiting.set(node, set.add(wake));
    signal.addEventListener("abort", aborted, { once: true });
    let timer: NodeJS.Timeout | undefined;
    return {
      within: async (ms) => {
        timer = setTimeout(() => resolve(false), ms);
        return await promise;
      },
      stop: () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", aborted);
        set.delete(wake);
        if (set.size === 0 && this.#waiting.get(node) === set) this.#waiting.delete(node);
      },
    };
  }

  #wakeFor(changed: readonly string[]): void {
    const concerns = (key: string): boolean =>
      RELEVANT.some((prefix) => key.startsWith(prefix)) || isChange(key);
    if (changed.some(concerns)) this.wake();
  }
}

/** Numbers for objects that stay the same ones while what they say does, as the mirror's do. */
class Numbers {
  readonly #known = new WeakMap<object, number>();
  #last = 0;

  of(objects: readonly (object | null)[]): string {
    return objects.map((object) => (object === null ? 0 : this.#one(object))).join(".");
  }

  #one(object: object): number {
    const known = this.#known.get(object) ?? ++this.#last;
    this.#known.set(object, known);
    return known;
  }
}

/** What a node that is no member any more is told, with the proof. */
function gone(core: Core, node: KeyId): SkeinError {
  const revoke = core.mirror.get(keys.node(node, "revoke"));
  if (revoke === undefined) return new SkeinError("UNKNOWN_CLIENT", "this key belongs to no node");
  return new SkeinError("REVOKED", "this node was revoked", { data: { revoke } });
}
