import { mkdirSync, statfsSync } from "node:fs";
import path from "node:path";
import { blobCache, type BlobCache } from "../../depot/cache/blob-cache.ts";
import { forgiving } from "../../depot/cache/forgiving.ts";
import type { Clock } from "../../lib/time/clock.ts";
import { messageOf } from "../../lib/errors/errors.ts";
import type { Log } from "../../lib/process/log.ts";
import type { Paths } from "../../lib/disk/paths.ts";

const DISK_SHARE = 0.05;
const MOST_BYTES = 4 * 2 ** 30;

/** The cache's size where none is given, in bytes. */
export function shareOfDisk(dir: string): number {
  const { blocks, bsize } = statfsSync(dir);
  return Math.min(MOST_BYTES, Math.floor(blocks * bsize * DISK_SHARE));
}

export interface NodeCacheOptions {
  readonly paths: Paths;
  /** Most that it takes on the disk; 0: it keeps nothing. Default: `shareOfDisk`. */
  readonly cacheBytes?: number | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * The one cache of blobs on this machine, for whoever brings releases here: an agent, a sync, `skein cache`. Where its
 * folder cannot be made it keeps nothing, since nobody needs it.
 */
export function nodeCache({ paths, cacheBytes, clock, log }: NodeCacheOptions): BlobCache {
  const tell = (err: unknown): void => {
    log.warn("the cache rests for a minute", { "err.message": messageOf(err) });
  };
  const dir = cacheFolder(paths);
  const made = { dir, maxBytes: cacheBytes ?? 0, now: () => clock.now() };
  try {
    makeCacheFolder(paths);
    return forgiving(blobCache({ ...made, maxBytes: cacheBytes ?? shareOfDisk(dir) }), tell);
  } catch (err) {
    tell(err);
    return forgiving(blobCache({ ...made, maxBytes: 0 }), tell);
  }
}

export const cacheFolder = (paths: Paths): string => path.join(paths.lib, "cache");

/** What is above it is not its alone: apps' users have to pass through there. */
export function makeCacheFolder(paths: Paths): void {
  mkdirSync(paths.lib, { recursive: true, mode: 0o755 });
  mkdirSync(cacheFolder(paths), { recursive: true, mode: 0o700 });
}
