/**
 * A hub whose store was set back is told what it forgot: by every node, of itself and of others, whenever an answer of
 * the hub says less than the node knows. Whether a restore was announced makes no difference.
 */
import type { Membership, Reminder, ReturnPost } from "../../api/member-schemas.ts";
import type { WantedApp } from "../../api/schemas.ts";
import { hasPassed, type Clock } from "../../lib/time/clock.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";
import type { Digest, KeyId } from "../../lib/text/ids.ts";
import { labelSerial, NO_CHANGE, saysMore, type Change } from "../../trust/members/changes.ts";
import type { DocumentType } from "../../trust/document/documents.ts";
import { digestOfEnvelope, readUnverified, type Envelope } from "../../trust/document/envelope.ts";
import { openUnplaced } from "../../trust/members/identity.ts";
import type { NodeState } from "../../trust/node/node-state.ts";
import { compareSerials, type Serial } from "../../trust/orders/orders.ts";
import type { NodeStore } from "../node/node-store.ts";
import { byNode, type Remembered } from "../node/remembered-members.ts";
import type { Offered, Source } from "../source/source.ts";

/** What was told of members and is still lacking is told again after so long: a name may have become free. */
const AGAIN_MS = 300_000;
/** Whom the hub does not know has to be short. */
const CHANGES_ON_RETURN = 100;

/** What a hub does not know, by words that differ where that does; empty: nothing. */
interface Lack {
  readonly members: string;
  readonly orders: string;
}

/** What a report says beside the rest, when it says all. */
export interface Retold {
  readonly reminder: Reminder | undefined;
  /** This node's newest of each app, in the order in which they matter. */
  readonly receipts: readonly Envelope[];
}

const NONE: Lack = { members: "", orders: "" };

export class Reminders {
  readonly #store: NodeStore;
  readonly #remembered: Remembered;
  readonly #clock: Clock;
  readonly #receipts: () => readonly Envelope[];
  /** An older hub reads no reminders. */
  #isRead = false;
  #lack = NONE;
  /** Of this node's receipts, those that the hub's last answer in full did not show: others show none. */
  #unshown: ReadonlySet<Digest> = new Set();
  /** What the hub did not name when it was asked for all. */
  #unnamed: ReadonlyMap<KeyId, Change> = new Map();
  #telling = NONE;
  #told = { ...NONE, at: -Infinity };

  /** @param receipts this node's newest of each app */
  constructor(store: NodeStore, remembered: Remembered, clock: Clock, receipts: () => readonly Envelope[]) {
    this.#receipts = receipts;
    this.#store = store;
    this.#remembered = remembered;
    this.#clock = clock;
  }

  /** Keeps what a source says that is new, and finds what it lacks. @throws SkeinError what the source throws */
  async heard(offered: Offered, source: Source, signal: AbortSignal): Promise<void> {
    this.#isRead = offered.members !== undefined;
    const ask = source.membership?.bind(source);
    if (offered.members === undefined || ask === undefined) return;
    await this.#keep(offered.incarnation, offered.members, async (after) => await ask(after, signal));
    const shown = offered.lastReceipts?.map(digestOfEnvelope);
    if (shown !== undefined)
      this.#unshown = new Set(this.#ownReceipts().filter((one) => !shown.includes(one)));
    this.#lack = this.#lackOf(offered);
    // What it knew meanwhile and has lost again is told again.
    if (this.#lack.orders === "") this.#told = { ...this.#told, orders: "" };
  }

  /** Is the next report to say all that this node knows? */
  isDue(): boolean {
    const [lack, told] = [this.#lack, this.#told];
    if (!this.#isRead) return false;
    if (lack.orders !== "" && lack.orders !== told.orders) return true;
    if (lack.members === "") return false;
    return lack.members !== told.members || hasPassed(AGAIN_MS, told.at, this.#clock.now());
  }

  /**
   * What the next report says beside the rest, when it is to say all; null: it is not to.
   * @param isAsked the hub asks for all
   */
  toTell(isAsked = false): Retold | null {
    const isAll = isAsked || this.isDue();
    this.#telling = isAll ? this.#lack : NONE;
    if (!isAll) return null;
    const reminder = this.#isRead ? { charters: this.#charters(), changes: this.#changes() } : undefined;
    return { reminder, receipts: this.#toShow() };
  }

  /** The hub took the last report. */
  delivered(): void {
    if (this.#telling !== NONE) this.#told = { ...this.#telling, at: this.#clock.now() };
    this.#telling = NONE;
  }

  /** By which a hub takes this node up again that has forgotten it; undefined: it was never let in, or is no more. */
  papers(): ReturnPost | undefined {
    const { ticket, enrol, revoke } = this.#store.state.documents;
    const { mark } = this.#remembered.memory;
    if (mark === null || ticket === null || enrol === null || revoke !== null) return undefined;
    const reminder = { charters: this.#charters(), changes: this.#changes().slice(-CHANGES_ON_RETURN) };
    return { ticket, enrol, mark, reminder };
  }

  async #keep(
    incarnation: string,
    members: number,
    ask: (after: number) => Promise<Membership>,
  ): Promise<void> {
    const { memory } = this.#remembered;
    const isSetBack = memory.incarnation !== incarnation || members < memory.revision;
    if (!isSetBack && members === memory.revision && memory.mark !== null) return;
    const told = await ask(isSetBack ? 0 : memory.revision);
    const changes = told.changes.filter((one) => this.#verifies(one));
    const before = isSetBack ? byNode(memory.changes) : this.#unnamed;
    const named = byNode(changes);
    this.#unnamed = new Map(
      [...before].filter(([node, change]) => saysMore(change, named.get(node) ?? NO_CHANGE)),
    );
    await this.#remembered.keep({ ...told, changes }, incarnation);
  }

  /** Under the charter that this node pinned; whether its signer had the right to, only who knows the node can say. */
  #verifies({ label, revoke }: Change): boolean {
    const { charter } = this.#store.state;
    const now = this.#clock.now();
    try {
      if (label !== null) openUnplaced(charter, label, "label.1", now);
      if (revoke !== null) openUnplaced(charter, revoke, "revoke.1", now);
      return true;
    } catch (err) {
      if (isSkeinError(err)) return false;
      throw err;
    }
  }

  #charters(): Envelope[] {
    return this.#store.state.charters.slice(1);
  }

  #changes(): Change[] {
    const { label } = this.#store.state.documents;
    const own = label === null ? [] : [{ label, revoke: null }];
    return [...byNode([...this.#remembered.memory.changes, ...own]).values()];
  }

  /** A report has room for some: what the hub did not show comes first. */
  #toShow(): Envelope[] {
    const isShown = (one: Envelope): boolean => !this.#unshown.has(digestOfEnvelope(one));
    const all = this.#receipts();
    return [...all.filter((one) => !isShown(one)), ...all.filter(isShown)];
  }

  #ownReceipts(): Digest[] {
    return this.#receipts().map(digestOfEnvelope);
  }

  #lackOf({ incarnation, charters, identity, apps, duplicate }: Offered): Lack {
    const { state } = this.#store;
    const serial = state.identity?.serial ?? 0;
    const shown = identity === null ? serial : labelSerial({ label: identity.label, revoke: null });
    const members = [
      ...(state.charters.length > charters.length ? [`charter ${state.charters.length}`] : []),
      ...(serial > shown ? [`label ${serial}`] : []),
      ...this.#unnamed.keys(),
    ];
    // A node that has a double is shown no orders.
    const orders = duplicate ? [] : ordersBeyond(state, apps);
    // Who waits for this one would do so for ever: others may have told of the order, but not of this.
    orders.push(...this.#ownReceipts().filter((one) => this.#unshown.has(one)));
    const told = (what: readonly string[]): string =>
      what.length === 0 ? "" : [incarnation, ...what].join(" ");
    return { members: told(members), orders: told(orders) };
  }
}

/** Orders that this node holds as head or standing and that are newer than what it was shown as such. */
function ordersBeyond({ apps }: NodeState, shown: readonly WantedApp[]): string[] {
  return Object.values(apps).flatMap(({ app, env, head, standing }) => {
    const place = shown.find((one) => one.app === app && one.env === env);
    const orders = serialsOf(place?.orders ?? [], "order.1");
    const settled = serialsOf(
      (place?.settles ?? []).map(({ settle }) => settle),
      "settle.1",
    );
    return [
      ...(head !== null && orders.every((one) => compareSerials(head, one) > 0) ? [head.digest] : []),
      ...(standing !== null && settled.every((one) => compareSerials(standing, one) > 0)
        ? [`${standing.digest} settled`]
        : []),
    ];
  });
}

/** What cannot be read is refused where it is taken. */
function serialsOf(documents: readonly Envelope[], type: DocumentType & ("order.1" | "settle.1")): Serial[] {
  return documents.flatMap((one) => {
    try {
      return [readUnverified(one, type)];
    } catch (err) {
      if (isSkeinError(err)) return [];
      throw err;
    }
  });
}
