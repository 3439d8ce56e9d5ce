/**
 * A store that was restored from a backup (its incarnation changed) may have forgotten orders that nodes accepted. The
 * hub then asks its agents for what they hold, and takes no order and lets nobody in before the nodes that it knows have
 * told it, or some time has passed; what comes later is still taken, whenever it comes.
 */
import { SkeinError } from "../../lib/errors/errors.ts";
import type { KeyId } from "../../lib/text/ids.ts";
import { put, type Core } from "../records/core.ts";
import { keys } from "../records/keys.ts";
import type { Nodes } from "./nodes.ts";

/**
 * Whoever lives has called by then: an agent whose line led to a machine that is gone without a word waits for its
 * answer (40 s) and connects anew (10 s); one that knows has at most its longest backoff (15 s times 1.5) before it does.
 * A longer wait would only hold up deployments for nodes that are off.
 */
const LONGEST_MS = 50_000;

export class CatchUp {
  readonly #core: Core;
  readonly #nodes: Nodes;
  readonly #awaited: Set<KeyId>;
  #on = false;

  constructor(core: Core, nodes: Nodes) {
    this.#core = core;
    this.#nodes = nodes;
    this.#awaited = new Set();
  }

  get on(): boolean {
    return this.#on;
  }

  /** Decides whether there is something to catch up with. */
  async begin(): Promise<void> {
    const { mirror, store, clock, signal, log } = this.#core;
    const known = mirror.get(keys.incarnation);
    if (known === store.incarnation) return;
    for (const { node } of this.#nodes.members()) this.#awaited.add(node);
    if (known === undefined || this.#awaited.size === 0) return await this.#end();
    this.#on = true;
    log.warn("the store was restored; asking the agents what they hold", { nodes: this.#awaited.size });
    this.#waitedLongEnough(clock.sleep(LONGEST_MS, signal)).catch((err: unknown) => {
      if (!signal.aborted) log.error("catching up did not end", { err });
    });
  }

  /** A node told all that it holds. */
  async heardFrom(node: KeyId): Promise<void> {
    if (!this.#on) return;
    this.#awaited.delete(node);
    // Others told of the end of some.
    for (const awaited of this.#awaited) if (this.#nodes.revoked(awaited)) this.#awaited.delete(awaited);
    if (this.#awaited.size === 0) await this.#end();
  }

  /** @throws SkeinError HUB_CATCHING_UP */
  refuse(): void {
    if (!this.#on) return;
    throw new SkeinError("HUB_CATCHING_UP", `the hub waits for ${this.#awaited.size} of its agents`, {
      data: { waitingFor: this.#awaited.size },
    });
  }

  async #waitedLongEnough(time: Promise<void>): Promise<void> {
    await time;
    if (this.#on) await this.#end();
  }

  async #end(): Promise<void> {
    const { store, mirror, log } = this.#core;
    if (this.#on) log.info("caught up", { unheard: this.#awaited.size });
    this.#on = false;
    const { revision } = await store.txn({ compare: [], then: [put(keys.incarnation, store.incarnation)] });
    await mirror.reached(revision);
  }
}
