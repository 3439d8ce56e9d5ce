import type { PrunableDepot } from "./seam/depot.ts";
import { directoryDepot } from "./directory/directory.ts";
import type { Environment } from "./s3/settings.ts";

export interface OpenedDepot extends Disposable {
  readonly depot: PrunableDepot;
}

export const isInBucket = (address: string): boolean => /^s3:\/\//i.test(address);

/**
 * A depot by its address: `s3://BUCKET/PREFIX`, or a folder. Nothing is asked of a server yet.
 * @param env where a server's address and credentials come from (s3/settings.ts)
 * @throws SkeinError DEPOT_SETTINGS
 */
export async function openDepot(address: string, env: Environment): Promise<OpenedDepot> {
  if (!isInBucket(address)) return { depot: directoryDepot(address), [Symbol.dispose]: () => undefined };
  // Loaded where it is used: a machine without a server need not read the client.
  const { openBucket } = await import("./s3/bucket.ts");
  const { s3Depot } = await import("./s3/s3-depot.ts");
  const bucket = await openBucket(address, env);
  return { depot: s3Depot(bucket, ""), [Symbol.dispose]: () => bucket[Symbol.dispose]() };
}
