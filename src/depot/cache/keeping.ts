import type { BlobSource, Depot } from "../seam/depot.ts";
import type { BlobCache } from "./blob-cache.ts";
import { cached, Keeping } from "./cached.ts";

/** What whoever publishes will read again: old contents, to find what a new release shares with them. */
const isKept = (name: string): boolean => /^(?:packs|rows|since)\//.test(name);

/** A depot that keeps what goes into it, and what is read of it, in a cache on this disk. */
export function keeping({ near, far }: { readonly near: BlobCache; readonly far: Depot }): Depot {
  return {
    ...cached({ near, far }),
    put: async (name, blob, signal) => {
      await far.put(name, blob, signal);
      await keep(near, name, blob, signal);
    },
    delete: async (name, signal) => {
      await far.delete(name, signal);
      await near.drop(name);
    },
  };
}

/** Puts into the cache what was just stored far away, where it is worth that; what was held of the name goes. */
export async function keep(
  near: BlobCache,
  name: string,
  blob: BlobSource,
  signal: AbortSignal,
): Promise<void> {
  await near.drop(name);
  if (!isKept(name)) return;
  const writer = new Keeping(near, name, 0);
  for await (const piece of blob.open(0)) {
    signal.throwIfAborted();
    await writer.take(piece);
  }
  await writer.finish(true);
}
