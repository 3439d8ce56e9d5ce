import type { AlongBlob } from "../../api/along-blob.ts";
import type { KeyId, ReleaseId, TreeId } from "../../lib/text/ids.ts";
import { deltaName } from "../../release/tree/release-index.ts";
import { readUnverified, type Envelope } from "../../trust/document/envelope.ts";
import type { Presence } from "../cluster/presence.ts";
import type { Orders } from "../orders/orders.ts";
import type { Releases } from "../orders/releases.ts";
import type { OrderRecord } from "../records/keys.ts";
import type { Core } from "../records/core.ts";
import type { Peers } from "../reporting/peers.ts";

export interface AlongParts {
  readonly core: Pick<Core, "signal" | "traffic">;
  readonly orders: Pick<Orders, "body" | "log">;
  readonly releases: Pick<Releases, "get">;
  readonly presence: Pick<Presence, "app">;
  readonly peers: Pick<Peers, "hasProof" | "proof">;
}

/**
 * The small delta that a node will ask for when it is told of an order, to be sent with the very answer that tells of
 * it: one request less for each node. Only what is at hand, and leads from what the node says it runs; whoever does not
 * need it drops it, and whoever does not get it asks.
 */
export class Along {
  readonly #parts: AlongParts;
  readonly #trees = new WeakMap<Envelope, TreeId>();
  /** What each node was given last: it is told of an order more than once. */
  readonly #given = new Map<KeyId, string>();

  constructor(parts: AlongParts) {
    this.#parts = parts;
  }

  /**
   * @param heads the newest order of each app that the node is told of
   * @param most that the node takes, in bytes
   */
  async to(node: KeyId, heads: readonly OrderRecord[], most: number): Promise<AlongBlob | undefined> {
    const { core, peers } = this.#parts;
    for (const head of most === 0 ? [] : heads) {
      const name = this.#deltaFor(node, head);
      if (name === undefined || name === this.#given.get(node) || !peers.hasProof(name)) continue;
      const bytes = await peers.proof(name).then(
        (proof) => proof.bytes,
        () => undefined,
      );
      if (bytes === undefined || bytes.length > most) continue;
      this.#given.set(node, name);
      // It counts for the limit, and does not wait for it: the answer is of documents.
      core.traffic.up(bytes.length, core.signal).catch(() => undefined);
      return { name, bytes };
    }
    return undefined;
  }

  #deltaFor(node: KeyId, head: OrderRecord): string | undefined {
    const { orders, presence } = this.#parts;
    const { app, env, release, state } = orders.body(head);
    const runs = presence.app(node, app, env)?.release ?? null;
    if (runs === null || runs === release || state !== "run") return undefined;
    // What was ordered before is likely there still.
    if (orders.log({ app, env }).some((one) => one !== head && orders.body(one).release === release))
      return undefined;
    const [to, from] = [this.#treeOf(app, release), this.#treeOf(app, runs)];
    return to === undefined || from === undefined || to === from ? undefined : deltaName(to, from);
  }

  #treeOf(app: string, id: ReleaseId): TreeId | undefined {
    const release = this.#parts.releases.get(app, id);
    if (release === undefined) return undefined;
    const tree = this.#trees.get(release) ?? readUnverified(release, "release.1").tree;
    this.#trees.set(release, tree);
    return tree;
  }
}
