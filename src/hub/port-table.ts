/**
 * The port table: which instance listens where. A node's entries hang on one lease of 60 s that its reports renew;
 * while the hub is away no lease ends, so the table that it left is the table that it finds.
 */
import type { InstanceReport } from "../api/parts.ts";
import type { PortEntry } from "../api/schemas.ts";
import { isSkeinError } from "../lib/errors.ts";
import type { KeyId } from "../lib/ids.ts";
import type { Op } from "../store/store.ts";
import { put, type Core } from "./core.ts";
import { keys } from "./keys.ts";
import type { Nodes } from "./nodes.ts";
import type { Presence } from "./presence.ts";

const LEASE_MS = 60_000;
/** Below the store's bound of 128 operations. */
const OPS_AT_ONCE = 100;

export class PortTable {
  readonly #core: Core;
  readonly #nodes: Nodes;
  readonly #presence: Presence;
  readonly #leases = new Map<KeyId, number>();

  constructor(core: Core, nodes: Nodes, presence: Presence) {
    this.#core = core;
    this.#nodes = nodes;
    this.#presence = presence;
  }

  /** Makes the node's part of the table what it reports, and gives it another 60 s. */
  async renew(node: KeyId, instances: readonly InstanceReport[]): Promise<void> {
    await this.#core.lanes.run(`ports ${node}`, async () => {
      const { lease, old } = await this.#lease(node);
      const ops = this.#changes(node, instances, lease, old);
      for (let at = 0; at < ops.length; at += OPS_AT_ONCE) {
        const { revision } = await this.#core.store.txn({
          compare: [],
          then: ops.slice(at, at + OPS_AT_ONCE),
        });
        await this.#core.mirror.reached(revision);
      }
    });
  }

  list(filter: { readonly app?: string | undefined; readonly env?: string | undefined }): PortEntry[] {
    const found: PortEntry[] = [];
    for (const { key, value } of this.#core.mirror.list(keys.allPorts)) {
      if (filter.app !== undefined && value.app !== filter.app) continue;
      if (filter.env !== undefined && value.env !== filter.env) continue;
      const node = key.split("/")[2] as KeyId;
      const identity = this.#nodes.identity(node);
      if (identity === undefined) continue;
      found.push({ ...value, node, nodeName: identity.name, stale: !this.#presence.present(node) });
    }
    return found;
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
