/** What nodes say they did with an order: verified, kept, and served to those who settle. */
import { isSkeinError } from "../../lib/errors/errors.ts";
import type { Digest, KeyId } from "../../lib/text/ids.ts";
import type { Order, Receipt } from "../../trust/document/documents.ts";
import {
  digestOfEnvelope,
  readUnverified,
  type Envelope,
  type Opened,
} from "../../trust/document/envelope.ts";
import { MAX_AHEAD_MS } from "../../trust/charter/charter.ts";
import { compareSerials, openReceipt } from "../../trust/orders/orders.ts";
import { msOf } from "../../trust/document/fields.ts";
import type { Charters } from "../cluster/charters.ts";
import type { Core } from "../records/core.ts";
import { storedEnvelope } from "../records/envelopes.ts";
import { keys, type Key } from "../records/keys.ts";
import type { Orders } from "./orders.ts";

/** By their keys: of two about one thing in one report, the later one. */
type Puts = Map<Key<Envelope>, Envelope>;

export interface Taken {
  readonly done: readonly Digest[];
  readonly puts: ReadonlyMap<string, Envelope>;
}

export class Receipts {
  readonly #core: Core;
  readonly #charters: Charters;
  readonly #orders: Orders;

  constructor(core: Core, charters: Charters, orders: Orders) {
    this.#core = core;
    this.#charters = charters;
    this.#orders = orders;
  }

  /**
   * Called in the node's lane.
   * @returns what is to be written, and those that need not be sent again then: stored, or never going to be
   */
  async take(node: KeyId, receipts: readonly Envelope[]): Promise<Taken> {
    const taken = { done: [] as Digest[], puts: new Map<Key<Envelope>, Envelope>() };
    for (const receipt of receipts)
      if (await this.#takeOne(node, receipt, taken.puts)) taken.done.push(digestOfEnvelope(receipt));
    return taken;
  }

  /** The node's newest receipt of each app and environment. */
  own(node: KeyId): Envelope[] {
    return this.#core.mirror.list(keys.lastReceipts(node)).map(({ value }) => value);
  }

  async #takeOne(node: KeyId, source: Envelope, puts: Puts): Promise<boolean> {
    const { charter } = this.#charters.need();
    let opened: Opened<"receipt.1">;
    try {
      opened = openReceipt(charter.cluster, source);
    } catch (err) {
      if (!isSkeinError(err)) throw err;
      this.#core.log.warn("a receipt does not verify", { node, code: err.code });
      return true;
    }
    if (opened.body.node !== node) return true;
    // After a restore the order may still be on its way from another node.
    const record = this.#orders.find(opened.body.order);
    if (record === undefined) return false;
    // Else a node could fill the store with receipts of apps that nobody has.
    if (!answers(opened.body, this.#orders.body(record))) return true;
    await this.#keep(opened, source, puts);
    return true;
  }

  async #keep({ body }: Opened<"receipt.1">, source: Envelope, puts: Puts): Promise<void> {
    const key = keys.receipt(body.order, body.node);
    const before = puts.get(key) ?? (await this.#stored(key));
    if (before !== undefined && !saysMore(body, readUnverified(before, "receipt.1"), this.#core.clock.now()))
      return;
    puts.set(key, source);
    const lastKey = keys.lastReceipt(body.node, body.app, body.env);
    const last = puts.get(lastKey) ?? this.#core.mirror.get(lastKey);
    const isNewest = last === undefined || compareSerials(readUnverified(last, "receipt.1"), body) <= 0;
    if (isNewest) puts.set(lastKey, source);
  }

  async #stored(key: Key<Envelope>): Promise<Envelope | undefined> {
    const stored = await this.#core.store.get(key);
    return stored === undefined ? undefined : storedEnvelope(stored.value);
  }
}

/**
 * Is `receipt` the later word of one node on one order? What was done outlasts a refusal, whatever the clock said that
 * may have been the reason for it; and what is dated far ahead was signed before that clock was set right.
 */
function saysMore(receipt: Receipt, before: Receipt, now: number): boolean {
  const [at, beforeAt] = [msOf(receipt.at), msOf(before.at)];
  if (isRefusal(receipt) !== isRefusal(before)) return isRefusal(before);
  return at > beforeAt || (at < beforeAt && beforeAt > now + MAX_AHEAD_MS);
}

const isRefusal = ({ verdict }: Receipt): boolean => verdict === "refused";

/** Is the receipt about this order, and not only in its name? */
function answers(receipt: Receipt, order: Order): boolean {
  return receipt.app === order.app && receipt.env === order.env && compareSerials(receipt, order) === 0;
}
