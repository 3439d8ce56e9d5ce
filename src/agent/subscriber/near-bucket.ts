import type { BlobCache } from "../../depot/cache/blob-cache.ts";
import { cached } from "../../depot/cache/cached.ts";
import type { DepotReader } from "../../depot/seam/depot.ts";
import { Traffic, type TrafficLimits } from "../../depot/traffic/traffic.ts";
import type { Clock } from "../../lib/time/clock.ts";
import type { Log } from "../../lib/process/log.ts";
import type { Paths } from "../../lib/disk/paths.ts";
import { seesRetired } from "../../release/upkeep/retired.ts";
import type { Bucket } from "../../bucket/bucket.ts";
import { BEHIND, type NearOptions } from "../source/depots.ts";
import { nodeCache } from "../source/node-cache.ts";

/** What the packages of this machine are fetched from, the nearest first. */
export interface NearBucket {
  readonly cache: BlobCache;
  readonly depots: readonly DepotReader[];
}

export interface NearBucketOptions extends Pick<NearOptions, "cacheBytes"> {
  readonly bucket: Pick<Bucket, "depot">;
  readonly paths: Paths;
  /** Of what comes from the bucket, all packages together. Default: none. */
  readonly limits?: TrafficLimits | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * The bucket behind this machine's cache: what one package fetched, another one, another root or a later version does
 * not fetch again; and then once more past it, for what was found damaged.
 */
export function nearBucket({ bucket, limits = {}, clock, ...rest }: NearBucketOptions): NearBucket {
  const cache = nodeCache({ ...rest, clock });
  const far = new Traffic(limits, clock).reading(seesRetired(bucket.depot));
  const near = cached({ near: cache, far, behind: BEHIND });
  return { cache, depots: [near, near.mending] };
}
