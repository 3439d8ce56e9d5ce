import { statfsSync } from "node:fs";
import path from "node:path";
import { blobCache, type BlobCache } from "../depot/cache/blob-cache.ts";
import { cached } from "../depot/cache/cached.ts";
import { forgiving } from "../depot/cache/forgiving.ts";
import type { DepotReader } from "../depot/depot.ts";
import type { Clock } from "../lib/clock.ts";
import { messageOf } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { Paths } from "../lib/paths.ts";

/** What a node reads from before it asks its source. */
export interface NearOptions {
  /** Most that the cache of blobs takes on the disk; 0: none. Default: a twentieth of the disk, at most 4 GiB. */
  readonly cacheBytes?: number | undefined;
}

/** `near`: the nearest first. `anew`: all from afar, and into the cache, in place of what it holds. `far`: past the cache. */
export type Nearness = "near" | "anew" | "far";

interface NodeParts {
  readonly paths: Paths;
  readonly clock: Clock;
  readonly log: Log;
  readonly near?: NearOptions | undefined;
}

const DISK_SHARE = 0.05;
const MOST_BYTES = 4 * 2 ** 30;

function shareOfDisk(dir: string): number {
  const { blocks, bsize } = statfsSync(dir);
  return Math.min(MOST_BYTES, Math.floor(blocks * bsize * DISK_SHARE));
}

/**
 * What this node reads blobs from, the nearest first: its cache, then where its source says they are. Every depot of
 * the source comes twice: through the cache, and then once more past it, for what was found damaged.
 */
export class NearDepots {
  readonly cache: BlobCache;
  readonly #made = new WeakMap<DepotReader, readonly DepotReader[]>();

  constructor({ paths, clock, log, near = {} }: NodeParts) {
    const maxBytes = near.cacheBytes ?? shareOfDisk(paths.lib);
    const cache = blobCache({ dir: path.join(paths.lib, "cache"), maxBytes, now: () => clock.now() });
    this.cache = forgiving(cache, (err) => {
      log.warn("the cache rests for a minute", { "err.message": messageOf(err) });
    });
  }

  before(far: readonly DepotReader[], how: Nearness = "near"): readonly DepotReader[] {
    if (how === "far") return far;
    if (how === "anew") return far.map((depot) => cached({ near: blind(this.cache), far: depot }));
    return far.flatMap((depot) => {
      const known = this.#made.get(depot) ?? this.#make(depot);
      this.#made.set(depot, known);
      return known;
    });
  }

  #make(far: DepotReader): readonly DepotReader[] {
    const near = cached({ near: this.cache, far });
    return [near, near.mending];
  }
}

/** A cache that is written to and not read. */
function blind(cache: BlobCache): BlobCache {
  return {
    dir: cache.dir,
    maxBytes: cache.maxBytes,
    read: async () => undefined,
    gapEnd: async (_name, _start, end) => end,
    write: async (...what) => await cache.write(...what),
    drop: async (...what) => await cache.drop(...what),
    blobs: async () => await cache.blobs(),
    shrinkTo: async (bytes) => await cache.shrinkTo(bytes),
  };
}
