/**
 * This machine's cache by hand: putting in, getting out, comparing, mending, sending on. Caching itself needs none of
 * it. Whatever comes out is checked against the tree id under which it went in.
 */
import { randomBytes } from "node:crypto";
import fs from "node:fs/promises";
import path from "node:path";
import { cacheFolder, makeCacheFolder, shareOfDisk } from "../../agent/source/node-cache.ts";
import { blobCache, type BlobCache } from "../../depot/cache/blob-cache.ts";
import { cacheDepot } from "../../depot/cache/cache-depot.ts";
import type { Depot, DepotReader } from "../../depot/seam/depot.ts";
import { bytesBlob } from "../../release/fetch/blobs.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { refuseNoFolder } from "../../lib/disk/files.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import type { Paths } from "../../lib/disk/paths.ts";
import { packName } from "../../release/tree/pack.ts";
import { Fetcher } from "../../release/fetch/fetcher.ts";
import { install } from "../../release/install/install.ts";
import { publish } from "../../release/publish/publish.ts";
import type { PublishedTree } from "../../release/tree/published.ts";
import { indexName } from "../../release/tree/release-index.ts";
import { workFolder } from "../../source/work-folder.ts";
import { removeTree } from "../../release/install/remove-tree.ts";
import { encodeRow, type Row } from "../../release/tree/rows.ts";
import { loadTree, readIndex } from "../../release/fetch/tree-blobs.ts";
import type { TreeSource } from "../../release/tree/tree-source.ts";
import { cachedNames, forgetName, keepName, nameIfThere, type CachedName } from "./names.ts";

/** The cache that this machine's agent and syncs use. */
export function cacheHere(paths: Paths): BlobCache {
  makeCacheFolder(paths);
  const dir = cacheFolder(paths);
  return blobCache({ dir, maxBytes: shareOfDisk(dir), now: () => Date.now() });
}

/** Cuts a source and keeps all of it. @throws SkeinError DISK_FULL when the cache is too small for it */
export async function putSource(
  paths: Paths,
  name: string,
  source: TreeSource,
  signal: AbortSignal,
): Promise<CachedName> {
  const depot = cacheDepot(cacheHere(paths));
  const before = await nameIfThere(paths, name);
  const previous = before !== undefined && (await isAllThere(depot, before, signal)) ? before : null;
  const tree = await publishTo(depot, source, previous, signal);
  if (!(await isAllThere(depot, tree, signal))) throw tooSmall();
  const kept = { name, ...tree };
  await keepName(paths, kept);
  return kept;
}

/** `previous`: contents that it has keep their times. */
async function publishTo(
  depot: Depot,
  source: TreeSource,
  previous: PublishedTree | null,
  signal: AbortSignal,
): Promise<PublishedTree> {
  const now = Date.now();
  const { tree, rows, since } = await publish({ source, depot, previous, now, cacheDir: null, signal });
  return { tree, rows, since };
}

/** Copies everything that a tree needs into the cache. @throws SkeinError BLOB_MISSING, DISK_FULL */
export async function putTree(
  paths: Paths,
  name: string,
  tree: PublishedTree,
  from: DepotReader,
  signal: AbortSignal,
): Promise<CachedName> {
  const depot = cacheDepot(cacheHere(paths));
  for (const blob of await blobsOf(from, tree, signal)) await copyBlob(from, depot, blob, signal);
  if (!(await isAllThere(depot, tree, signal))) throw tooSmall();
  const kept = { name, tree: tree.tree, rows: tree.rows, since: tree.since };
  await keepName(paths, kept);
  return kept;
}

/** Names of all blobs that a tree needs, its index last. @throws SkeinError BLOB_MISSING, PACK_CORRUPT */
export async function blobsOf(
  depot: DepotReader,
  { tree, rows, since }: PublishedTree,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const { packs } = await readIndex(depot, tree, signal);
  return [
    ...packs.map(packName),
    `rows/${rows}`,
    ...(since === null ? [] : [`since/${since}`]),
    `index/${tree}`,
  ];
}

async function isAllThere(depot: Depot, tree: PublishedTree, signal: AbortSignal): Promise<boolean> {
  try {
    const names = await blobsOf(depot, tree, signal);
    return (await depot.has(names, signal)).size === new Set(names).size;
  } catch (err) {
    if (isSkeinError(err, "BLOB_MISSING", "PACK_CORRUPT")) return false;
    throw err;
  }
}

function tooSmall(): SkeinError {
  return new SkeinError("DISK_FULL", "the cache is too small for it", {
    hint: "Free some of the disk, or deploy it: that needs no cache.",
  });
}

/** Blobs are at most a pack long, so one is held at a time. */
async function copyBlob(from: DepotReader, to: Depot, name: string, signal: AbortSignal): Promise<number> {
  const pieces: Uint8Array[] = [];
  for await (const piece of from.get(name, signal)) pieces.push(Buffer.from(piece));
  const bytes = Buffer.concat(pieces);
  await to.put(name, bytesBlob(bytes), signal);
  return bytes.length;
}

/** @throws SkeinError NOT_FOUND */
export async function cachedTree(paths: Paths, name: string): Promise<CachedName> {
  const known = await nameIfThere(paths, name);
  if (known !== undefined) return known;
  throw new SkeinError("NOT_FOUND", `nothing was put into the cache as ${name}`, {
    hint: "skein cache ls shows what is there; skein cache put NAME puts it in.",
    data: { name },
  });
}

/**
 * Writes what was put in as `name` to a folder that is not there yet; every file is checked on the way.
 * @throws SkeinError USAGE (the folder is there), NOT_FOUND (also: the one that it is to be in), BLOB_MISSING, CHUNK_CORRUPT, TREE_CORRUPT
 */
export async function getTree(paths: Paths, name: string, to: string, signal: AbortSignal): Promise<void> {
  const tree = await cachedTree(paths, name);
  const target = path.resolve(to);
  if (await isThere(target))
    throw new SkeinError("USAGE", `${to} is there already`, {
      hint: `Name another place: skein cache get ${name} TO`,
      data: { path: target },
    });
  refuseNoFolder(target);
  const revs = path.join(path.dirname(target), `.skein-cache-${randomBytes(4).toString("hex")}`);
  try {
    const release = tree.tree.slice(0, 32) as ReleaseId;
    const depots = [cacheDepot(cacheHere(paths))];
    const { dir } = await install({ release, tree, depots, revs, link: false, signal });
    await fs.chmod(dir, 0o755);
    await fs.rename(dir, target);
  } finally {
    removeTree(revs);
  }
}

/** Forgets the names of what is not in the cache any more. */
export async function forgetGone(paths: Paths, signal: AbortSignal): Promise<void> {
  const depot = cacheDepot(cacheHere(paths));
  for (const { name, tree } of await cachedNames(paths)) {
    if ((await depot.has([indexName(tree)], signal)).size === 0) await forgetName(paths, name);
  }
}

async function isThere(file: string): Promise<boolean> {
  return await fs.lstat(file).then(
    () => true,
    () => false,
  );
}

/** How what is cached as `name` and a source differ: paths by what is the matter with them. */
export interface CacheDifference {
  /** In the source, and not in the cache. */
  readonly missing: readonly string[];
  /** In the cache, and not in the source. */
  readonly extra: readonly string[];
  readonly different: readonly string[];
}

/** The source is cut from scratch, in a folder of its own. @throws SkeinError NOT_FOUND, BLOB_MISSING, TREE_REFUSED */
export async function diffTree(
  paths: Paths,
  name: string,
  source: TreeSource,
  signal: AbortSignal,
): Promise<CacheDifference> {
  const cachedRows = await rowsOf(cacheHere(paths), await cachedTree(paths, name), signal);
  using folder = workFolder();
  const scratch = blobCache({ dir: folder.dir, maxBytes: Infinity, now: () => Date.now() });
  const tree = await publishTo(cacheDepot(scratch), source, null, signal);
  return difference(cachedRows, await rowsOf(scratch, tree, signal));
}

async function rowsOf(cache: BlobCache, tree: PublishedTree, signal: AbortSignal): Promise<readonly Row[]> {
  return (await loadTree(new Fetcher([cacheDepot(cache)], signal), tree)).rows;
}

function difference(cached: readonly Row[], here: readonly Row[]): CacheDifference {
  const before = new Map(cached.map((row) => [row.path, encodeRow(row)]));
  const after = new Map(here.map((row) => [row.path, encodeRow(row)]));
  return {
    missing: [...after.keys()].filter((file) => !before.has(file)),
    extra: [...before.keys()].filter((file) => !after.has(file)),
    different: [...after].filter(([file, row]) => (before.get(file) ?? row) !== row).map(([file]) => file),
  };
}

/** This machine's cache, to be read. */
export function depotHere(paths: Paths): DepotReader {
  return cacheDepot(cacheHere(paths));
}

/**
 * Sends what trees need from a cache to a depot, which gets only what it lacks. @returns blobs and bytes sent
 * @throws SkeinError BLOB_MISSING
 */
export async function persist(
  from: DepotReader,
  trees: readonly PublishedTree[],
  to: Depot,
  signal: AbortSignal,
): Promise<{ readonly blobs: readonly string[]; readonly sent: number; readonly bytes: number }> {
  const names: string[] = [];
  for (const tree of trees) names.push(...(await blobsOf(from, tree, signal)));
  const blobs = [...new Set(names)];
  const there = await to.has(blobs, signal);
  let [sent, bytes] = [0, 0];
  for (const name of blobs.filter((blob) => !there.has(blob))) {
    bytes += await copyBlob(from, to, name, signal);
    sent += 1;
  }
  return { blobs, sent, bytes };
}
