import type { DepotReader } from "../../depot/seam/depot.ts";
import { readBy } from "../../depot/seam/read-by.ts";
import { unpooled } from "../../lib/memory/free.ts";

/** Longest sum of what is kept, in bytes. */
const KEPT_BYTES = 512 * 1024;
/** Their names are digests of what they hold; an index may have changed since. */
const CONTENT_NAMED = /^(?:packs|rows|since)\//;

/**
 * The small blobs that releases came with last. Right after one was published its tree is read for its manifest and for
 * deltas, while its order wants the processor: each read from the disk is several turns of another thread.
 */
export class RecentBlobs {
  /** The one that came longest ago first. */
  readonly #blobs = new Map<string, Uint8Array>();
  #bytes = 0;
  /** The depot, for whoever proves what it reads by what was signed. */
  readonly trees: DepotReader;

  constructor(depot: DepotReader) {
    const blobs = this.#blobs;
    this.trees = readBy(depot, async function* (name, signal, range) {
      const kept = blobs.get(name);
      if (kept === undefined) yield* depot.get(name, signal, range);
      // The reader's own.
      else yield Uint8Array.from(kept.subarray(range?.start ?? 0, range?.end));
    });
  }

  /** Of blobs that are in the depot. */
  keep(blobs: readonly { readonly name: string; readonly bytes: Buffer }[]): void {
    for (const { name, bytes } of blobs) {
      if (!CONTENT_NAMED.test(name)) continue;
      this.#drop(name);
      this.#blobs.set(name, unpooled(bytes));
      this.#bytes += bytes.length;
    }
    for (const name of this.#blobs.keys()) {
      if (this.#bytes <= KEPT_BYTES) return;
      this.#drop(name);
    }
  }

  #drop(name: string): void {
    this.#bytes -= this.#blobs.get(name)?.length ?? 0;
    this.#blobs.delete(name);
  }
}
