/** What nodes say they did with an order: verified, kept, and served to those who settle. */
import { faultPoint } from "../../lib/fault.ts";
import { isSkeinError } from "../../lib/errors.ts";
import type { Digest, KeyId } from "../../lib/ids.ts";
import type { Order, Receipt } from "../../trust/documents.ts";
import { digestOfEnvelope, readUnverified, type Envelope, type Opened } from "../../trust/envelope.ts";
import { compareSerials, openReceipt } from "../../trust/orders.ts";
import { msOf } from "../../trust/fields.ts";
import type { Charters } from "../cluster/charters.ts";
import { put, type Core } from "../records/core.ts";
import { keys } from "../records/keys.ts";
import type { Orders } from "./orders.ts";

export class Receipts {
  readonly #core: Core;
  readonly #charters: Charters;
  readonly #orders: Orders;

  constructor(core: Core, charters: Charters, orders: Orders) {
    this.#core = core;
    this.#charters = charters;
    this.#orders = orders;
  }

  /** @returns those that need not be sent again: stored durably, or never going to be */
  async take(node: KeyId, receipts: readonly Envelope[]): Promise<Digest[]> {
    const done: Digest[] = [];
    for (const receipt of receipts)
      if (await this.#takeOne(node, receipt)) done.push(digestOfEnvelope(receipt));
    return done;
  }

  /** The node's newest receipt of each app and environment. */
  own(node: KeyId): Envelope[] {
    return this.#core.mirror.list(keys.lastReceipts(node)).map(({ value }) => value);
  }

  async #takeOne(node: KeyId, source: Envelope): Promise<boolean> {
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
    await this.#core.lanes.run(`receipt ${node}`, async () => await this.#store(opened, source));
    return true;
  }

  async #store({ body }: Opened<"receipt.1">, source: Envelope): Promise<void> {
    const key = keys.receipt(body.order, body.node);
    const stored = await this.#core.store.get(key);
    if (stored !== undefined) {
      const before = readUnverified(JSON.parse(stored.value), "receipt.1");
      if (msOf(before.at) >= msOf(body.at)) return;
    }
    const lastKey = keys.lastReceipt(body.node, body.app, body.env);
    const last = this.#core.mirror.get(lastKey);
    const newest = last === undefined || compareSerials(readUnverified(last, "receipt.1"), body) <= 0;
    faultPoint("hub.receipt");
    const { revision } = await this.#core.store.txn({
      compare: [],
      then: [put(key, source), ...(newest ? [put(lastKey, source)] : [])],
    });
    await this.#core.mirror.reached(revision);
  }
}

/** Is the receipt about this order, and not only in its name? */
function answers(receipt: Receipt, order: Order): boolean {
  return receipt.app === order.app && receipt.env === order.env && compareSerials(receipt, order) === 0;
}
