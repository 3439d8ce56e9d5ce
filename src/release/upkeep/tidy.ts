import { collect, type Collected, type CollectOptions } from "./collect.ts";
import { repack, type Repacked } from "./repack.ts";

export interface Tidied extends Collected {
  /** What was put together, before the collection. */
  readonly repacked: Repacked;
}

const NOTHING: Repacked = { replaced: 0, made: 0, bytes: 0 };

/** All of a depot's upkeep: repacks, then collects, so that the packs given up are noted at once. */
export async function tidy(options: CollectOptions): Promise<Tidied> {
  const { depot, roots, signal, dryRun = false } = options;
  const repacked = dryRun ? NOTHING : await repack({ depot, roots, signal });
  return { ...(await collect(options)), repacked };
}
