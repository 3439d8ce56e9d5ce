/**
 * The port table: which instance listens where. A node's entries hang on one lease of 60 s that its reports renew;
 * while the hub is away no lease ends, so the table that it left is the table that it finds.
 */
import type { InstanceReport } from "../../api/field-schemas.ts";
import type { PortEntry } from "../../api/schemas.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";
import type { KeyId, AppEnv } from "../../lib/text/ids.ts";
import { SaidOnce } from "../../lib/process/said-once.ts";
import type { Op } from "../../store/store.ts";
import type { Identity } from "../../trust/members/identity.ts";
import { put, write, type Core } from "../records/core.ts";
import { keys } from "../records/keys.ts";
import type { Nodes } from "../cluster/nodes.ts";
import type { Orders } from "../orders/orders.ts";
import type { Presence } from "../cluster/presence.ts";

const LEASE_MS = 60_000;
/** Which orders there are, and which name a node by its labels. */
export interface PortOrders {
  readonly orders: Pick<Orders, "log" | "body" | "roster">;
  readonly names: (identity: Identity, place: AppEnv) => boolean;
}

export class PortTable {
  readonly #core: Core;
  readonly #nodes: Nodes;
  readonly #presence: Presence;
  readonly #orders: PortOrders;
  readonly #leases = new Map<KeyId, number>();
  /** Which instances are not listed: a node reports them again and again. */
  readonly #said = new SaidOnce();

  constructor(core: Core, nodes: Nodes, presence: Presence, orders: PortOrders) {
    this.#core = core;
    this.#nodes = nodes;
    this.#presence = presence;
    this.#orders = orders;
    core.mirror.onChange((changed) => {
      if (changed.some((key) => key.startsWith(keys.charters))) this.#endStrangers();
    });
  }

  /**
   * Keeps the node's part of the table for another 60 s. Called in the node's lane.
   * @returns what makes it what the node reports of apps that were ordered to it
   */
  async renew(node: KeyId, reported: readonly InstanceReport[]): Promise<Op[]> {
    const instances = await this.#ordered(node, reported);
    const { lease, old } = await this.#lease(node);
    return this.#changes(node, instances, lease, old);
  }

  list(filter: { readonly app?: string | undefined; readonly env?: string | undefined }): PortEntry[] {
    const found: PortEntry[] = [];
    for (const { key, value } of this.#core.mirror.list(keys.allPorts)) {
      if (filter.app !== undefined && value.app !== filter.app) continue;
      if (filter.env !== undefined && value.env !== filter.env) continue;
      const entry = this.entry(key, value);
      if (entry !== undefined) found.push(entry);
    }
    return found;
  }

  /** What stands under a key, with whose it is; undefined where its node is no member. */
  entry(key: string, reported: InstanceReport): PortEntry | undefined {
    const node = nodeOf(key);
    const identity = this.#nodes.identity(node);
    if (identity === undefined) return undefined;
    return { ...reported, node, nodeName: identity.name, stale: !this.#presence.present(node) };
  }

  /** A charter that vouches for some nodes no more: whoever follows the table hears at once that their entries are gone. */
  #endStrangers(): void {
    const listed = this.#core.mirror.list(keys.allPorts).map(({ key }) => nodeOf(key));
    const gone = [...new Set(listed)].filter((node) => this.#nodes.identity(node) === undefined);
    if (gone.length === 0) return;
    const ended = write(
      this.#core,
      gone.map((node) => ({ op: "deletePrefix", prefix: keys.ports(node) })),
    );
    ended.catch((err: unknown) =>
      this.#core.log.warn("entries of nodes that are no members stay until they expire", {
        err: String(err),
      }),
    );
  }

  /** A node that was never given an app would answer other nodes' lookups of it with whatever it likes. */
  async #ordered(node: KeyId, reported: readonly InstanceReport[]): Promise<readonly InstanceReport[]> {
    const known = new Map<string, boolean>();
    const ordered: InstanceReport[] = [];
    for (const instance of reported) {
      const key = `${instance.app}/${instance.env}`;
      const may = known.get(key) ?? (await this.#concerns(node, instance));
      known.set(key, may);
      if (may) ordered.push(instance);
      else if (this.#said.isNews(`${node} ${key}`, this.#core.clock.now()))
        this.#core.log.warn("no order here gives an app to a node that runs it: it is not listed", {
          node,
          app: key,
        });
    }
    return ordered;
  }

  /** By its labels now, or by a roster: what an order started goes on when labels change. */
  async #concerns(node: KeyId, place: AppEnv): Promise<boolean> {
    const identity = this.#nodes.identity(node);
    if (identity === undefined) return false;
    const { orders, names } = this.#orders;
    if (names(identity, place)) return true;
    for (const record of orders.log(place)) {
      const roster = await orders.roster(orders.body(record).roster);
      if (roster?.nodes.some((one) => one.node === node) === true) return true;
    }
    return false;
  }

  #changes(node: KeyId, instances: readonly InstanceReport[], lease: number, renewAll: boolean): Op[] {
    const held = new Map(this.#core.mirror.list(keys.ports(node)).map(({ key, value }) => [key, value]));
    const ops: Op[] = [];
    for (const instance of instances) {
      const key = keys.port(node, instance.instance);
      const same = JSON.stringify(held.get(key)) === JSON.stringify(instance);
      held.delete(key);
      if (renewAll || !same) ops.push(put(key, instance, lease));
    }
    for (const key of held.keys()) ops.push({ op: "delete", key });
    return ops;
  }

  /** The node's lease with its full time; `old` when entries made under another one must be put again. */
  async #lease(node: KeyId): Promise<{ lease: number; old: boolean }> {
    const { store } = this.#core;
    const known = this.#leases.get(node) ?? (await this.#leaseInStore(node));
    if (known !== undefined) {
      try {
        await store.keepAlive(known);
        this.#leases.set(node, known);
        return { lease: known, old: false };
      } catch (err) {
        if (!isSkeinError(err, "LEASE_NOT_FOUND")) throw err;
      }
    }
    const lease = await store.grant(LEASE_MS);
    this.#leases.set(node, lease);
    return { lease, old: true };
  }

  async #leaseInStore(node: KeyId): Promise<number | undefined> {
    const { entries } = await this.#core.store.range(keys.ports(node), { limit: 1 });
    const lease = entries[0]?.lease ?? 0;
    return lease === 0 ? undefined : lease;
  }
}

const nodeOf = (key: string): KeyId => key.split("/")[2] as KeyId;
