import { isSkeinError } from "../../lib/errors/errors.ts";
import type { TreeId } from "../../lib/text/ids.ts";
import type { DepotReader } from "../../depot/seam/depot.ts";
import { readBlob } from "../fetch/blobs.ts";
import { packName } from "../tree/pack.ts";
import type { PublishedTree } from "../tree/published.ts";
import { decodeIndex, INDEX_BYTES, indexName } from "../tree/release-index.ts";

/** Which blobs the kept releases need. */
export class Marking {
  readonly #names = new Set<string>();
  readonly #trees = new Set<string>();
  /**
   * Trees whose index is damaged: which packs they need is not known, so no pack is unreferenced. One without an index
   * is not here, whatever signed document names it: nobody could install it, and whoever publishes it looks for packs.
   */
  readonly unreadable: TreeId[] = [];

  async add(depot: DepotReader, root: PublishedTree, signal: AbortSignal): Promise<void> {
    if (this.#trees.has(root.tree) && this.#names.has(`rows/${root.rows}`)) {
      if (root.since !== null) this.#names.add(`since/${root.since}`);
      return;
    }
    this.#trees.add(root.tree);
    this.#names.add(`rows/${root.rows}`).add(indexName(root.tree));
    if (root.since !== null) this.#names.add(`since/${root.since}`);
    try {
      const index = await readBlob(depot, indexName(root.tree), INDEX_BYTES, signal);
      for (const id of decodeIndex(index).packs) this.#names.add(packName(id));
    } catch (err) {
      if (isSkeinError(err, "PACK_CORRUPT")) this.unreadable.push(root.tree);
      else if (!isSkeinError(err, "BLOB_MISSING")) throw err;
    }
  }

  /** A delta is of use while somebody may have the one tree and want the other. */
  needs(name: string): boolean {
    if (name.startsWith("packs/") && this.unreadable.length > 0) return true;
    const [, to, from] = /^deltas\/([0-9a-f]{64})\.([0-9a-f]{64})$/.exec(name) ?? [];
    if (to !== undefined && from !== undefined) return this.#trees.has(to) && this.#trees.has(from);
    return this.#names.has(name);
  }
}
