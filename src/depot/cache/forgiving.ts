import type { BlobCache } from "./blob-cache.ts";

/** A disk that failed is let alone for so long. */
const REST_MS = 60_000;

/**
 * The same cache for readers who can do without: while its disk fails it holds nothing. Told of once in a minute. Room
 * is made all the same: a full disk is the most likely reason for its rest.
 */
export function forgiving(cache: BlobCache, onFault: (err: unknown) => void): BlobCache {
  let offUntil = -Infinity;
  const attempt = async <T>(work: () => Promise<T>, otherwise: T): Promise<T> => {
    if (performance.now() < offUntil) return otherwise;
    try {
      return await work();
    } catch (err) {
      if (performance.now() >= offUntil) onFault(err);
      offUntil = performance.now() + REST_MS;
      return otherwise;
    }
  };
  return {
    dir: cache.dir,
    maxBytes: cache.maxBytes,
    read: async (name, start, end) =>
      await attempt(async () => await cache.read(name, start, end), undefined),
    peek: async (name, start, end) =>
      await attempt(async () => await cache.peek(name, start, end), undefined),
    write: async (name, start, bytes, ends) =>
      await attempt(async () => await cache.write(name, start, bytes, ends), undefined),
    gapEnd: async (name, start, end) => await attempt(async () => await cache.gapEnd(name, start, end), end),
    drop: async (name, start, end) =>
      await attempt(async () => await cache.drop(name, start, end), undefined),
    check: async (name, signal) => await attempt(async () => await cache.check(name, signal), true),
    blobs: async () => await attempt(async () => await cache.blobs(), []),
    shrinkTo: async (bytes) => await cache.shrinkTo(bytes),
    giveWay: async (bytes) => await cache.giveWay(bytes),
  };
}
