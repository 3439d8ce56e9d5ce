import path from "node:path";
import { blobCache } from "../../depot/cache/blob-cache.ts";
import { forgiving } from "../../depot/cache/forgiving.ts";
import { keeping } from "../../depot/cache/keeping.ts";
import type { Depot } from "../../depot/seam/depot.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";
import { encodeInWorkers } from "../../release/delta/encode-workers.ts";
import { publishDeltas } from "../../release/delta/publish-deltas.ts";
import type { PublishedTree } from "../../release/tree/published.ts";
import { cacheDir } from "../identity/home.ts";
import type { BucketOperator } from "./bucket-operator.ts";

/** Of this disk, for what was published from here or read for comparing. */
const CACHE_BYTES = 2 ** 30;

/** The bucket's blobs, with those that went through here before at hand. */
export function depotAtHand({ bucket, paths, clock }: BucketOperator): Depot {
  const dir = path.join(cacheDir(paths), "blobs");
  const near = forgiving(blobCache({ dir, maxBytes: CACHE_BYTES, now: () => clock.now() }), () => undefined);
  return keeping({ near, far: bucket.depot });
}

/**
 * Makes the deltas by which nodes reach a tree from others. A bucket makes none by itself, so whoever publishes does.
 * A release is good without them: what goes wrong is told as a note.
 */
export async function deltasInBucket(
  operator: BucketOperator,
  to: PublishedTree,
  from: readonly PublishedTree[],
  { depot, signal }: { readonly depot: Depot; readonly signal: AbortSignal },
): Promise<readonly string[]> {
  const scratch = cacheDir(operator.paths);
  try {
    await publishDeltas({ depot, to, from, encoder: encodeInWorkers, scratch, signal });
    return [];
  } catch (err) {
    signal.throwIfAborted();
    if (!isSkeinError(err)) throw err;
    return [`Nodes will fetch more than they need: no delta was made (${err.message}).`];
  }
}
