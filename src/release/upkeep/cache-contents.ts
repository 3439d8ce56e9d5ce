/** What is in a cache of blobs, as releases see it: which trees, what is damaged, what may go. */
import { createHash } from "node:crypto";
import type { BlobCache, CachedBlob } from "../../depot/cache/blob-cache.ts";
import { cacheDepot, isWhole } from "../../depot/cache/cache-depot.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";
import { isDigest, type Digest, type TreeId } from "../../lib/text/ids.ts";
import { getCompressed } from "../fetch/blobs.ts";
import { packName } from "../tree/pack.ts";
import { readIndex, TABLE_BYTES } from "../fetch/tree-blobs.ts";

/** A tree whose index is in the cache. */
export interface CachedTree {
  readonly tree: TreeId;
  /** When it was last put down from here, or put in, in ms since the epoch. */
  readonly usedAt: number;
  readonly packs: readonly Digest[];
}

/** The trees in a cache, the one used last first. */
export async function cachedTrees(cache: BlobCache, signal: AbortSignal): Promise<readonly CachedTree[]> {
  const depot = cacheDepot(cache, "peek");
  const trees: CachedTree[] = [];
  for (const { name, usedAt } of await cache.blobs()) {
    const tree = name.slice("index/".length);
    if (!name.startsWith("index/") || !isDigest(tree)) continue;
    try {
      const { packs } = await readIndex(depot, tree as string as TreeId, signal);
      trees.push({ tree: tree as string as TreeId, usedAt, packs });
    } catch (err) {
      if (!isSkeinError(err, "BLOB_MISSING", "PACK_CORRUPT")) throw err;
    }
  }
  return trees.sort((a, b) => b.usedAt - a.usedAt);
}

export interface CacheGcWish {
  /** Keep what so many trees need, those that were used last. Default: all. */
  readonly count?: number | undefined;
  /**
   * Remove what was last used before this, in ms since the epoch; with a count too, only of what that does not keep.
   * Default: nothing for its age.
   */
  readonly before?: number | undefined;
  /** Tell, and remove nothing. */
  readonly dry?: boolean | undefined;
}

export interface CacheGc {
  readonly removed: readonly CachedBlob[];
  readonly bytes: number;
  readonly trees: number;
}

/** Removes what a person no longer wants kept. Whatever goes is fetched again when it is needed. */
export async function collectCache(
  cache: BlobCache,
  wish: CacheGcWish,
  signal: AbortSignal,
): Promise<CacheGc> {
  const { count = Infinity, before = -Infinity, dry = false } = wish;
  const isBoth = count !== Infinity && before !== -Infinity;
  const kept = (await cachedTrees(cache, signal)).filter(({ usedAt }, n) =>
    isBoth ? n < count || usedAt >= before : n < count && usedAt >= before,
  );
  const needed = new Set(kept.flatMap(({ tree, packs }) => [`index/${tree}`, ...packs.map(packName)]));
  // Tables and deltas name no tree; they are read with their tree's index, so their time tells.
  const oldest = Math.min(...kept.map(({ usedAt }) => usedAt));
  const goes = ({ name, usedAt }: CachedBlob): boolean => {
    if (needed.has(name)) return false;
    const isOld = before === -Infinity || usedAt < before;
    if (count === Infinity) return isOld && before !== -Infinity;
    return isOld && (/^(packs|index)\//.test(name) || usedAt < oldest - SAME_USE_MS);
  };
  const removed = (await cache.blobs()).filter(goes);
  if (!dry) for (const { name } of removed) await cache.drop(name);
  return { removed, bytes: removed.reduce((sum, { bytes }) => sum + bytes, 0), trees: kept.length };
}

/** What is read for one install is read within this time. */
const SAME_USE_MS = 10 * 60_000;

export interface CacheCheck {
  /** Blobs looked at. */
  readonly checked: number;
  /** Those that were damaged; they are removed. */
  readonly damaged: readonly string[];
}

/**
 * Reads everything in a cache. Damage that a disk did is found by the checksums, of whole blobs also what is not worth
 * its name; what is damaged is removed.
 */
export async function checkCache(cache: BlobCache, signal: AbortSignal): Promise<CacheCheck> {
  const damaged: string[] = [];
  const blobs = await cache.blobs();
  for (const { name } of blobs) {
    if (!(await cache.check(name, signal))) damaged.push(name);
    else if ((await isWhole(cache, name, signal)) && !(await isWorthItsName(cache, name, signal))) {
      await cache.drop(name);
      damaged.push(name);
    }
  }
  return { checked: blobs.length, damaged };
}

async function isWorthItsName(cache: BlobCache, name: string, signal: AbortSignal): Promise<boolean> {
  const depot = cacheDepot(cache, "peek");
  const [folder = "", id = ""] = name.split("/");
  try {
    if (folder === "packs") return (await sha256Of(cache, name, signal)) === id;
    if (folder === "index") await readIndex(depot, id as TreeId, signal);
    if (folder === "rows" || folder === "since")
      await getCompressed(depot, folder, id as Digest, TABLE_BYTES, signal);
    return true;
  } catch (err) {
    if (isSkeinError(err, "PACK_CORRUPT", "TREE_CORRUPT", "BLOB_MISSING")) return false;
    throw err;
  }
}

async function sha256Of(cache: BlobCache, name: string, signal: AbortSignal): Promise<string> {
  const sum = createHash("sha256");
  for await (const bytes of cacheDepot(cache, "peek").get(name, signal)) sum.update(bytes);
  return sum.digest("hex");
}
