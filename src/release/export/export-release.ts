import type { Depot, DepotReader, PrunableDepot } from "../../depot/depot.ts";
import { createHash } from "node:crypto";
import type { Digest, TreeId } from "../../lib/ids.ts";
import { faultPoint } from "../../lib/fault.ts";
import { isSkeinError, SkeinError } from "../../lib/errors.ts";
import { bytesBlob, readBlob, readHead } from "../blobs.ts";
import type { Catalogue } from "../catalogue.ts";
import { chunksOf, packName } from "../pack.ts";
import type { PublishedTree } from "../published.ts";
import { decodeIndex, encodeIndex, INDEX_BYTES, indexName } from "../release-index.ts";
import { indexOf } from "../tree-blobs.ts";
import { copyTree } from "./copy-tree.ts";
import type { ExportHead } from "./export-file.ts";
import { verifyTree } from "./verify-tree.ts";

export interface GatherOptions {
  readonly tree: PublishedTree;
  /** The chunks of this tree are left out. */
  readonly from: TreeId | null;
  readonly depot: DepotReader;
  /** Empty: takes what the file will hold. */
  readonly staging: PrunableDepot;
  readonly signal: AbortSignal;
}

/**
 * Puts together what a file must hold of a release: packs of just the chunks that it needs, tables, index.
 * @throws SkeinError BLOB_MISSING, CHUNK_MISSING, CHUNK_CORRUPT, PACK_CORRUPT, TREE_CORRUPT; whatever the depots throw
 */
export async function gatherExport(options: GatherOptions): Promise<ExportHead["blobs"]> {
  const { tree, from, depot, staging, signal } = options;
  const known: Catalogue = { chunks: new Map(), lists: new Map() };
  if (from !== null) await enterTree(known, depot, from, signal);
  await copyTree({ tree, from: depot, to: staging, known, signal });
  const blobs: { name: string; size: number; sha256: Digest }[] = [];
  for await (const { name, sizeBytes } of staging.entries("", signal)) {
    blobs.push({ name, size: sizeBytes, sha256: await hashOf(staging, name, signal) });
  }
  return blobs;
}

async function enterTree(
  { chunks, lists }: Catalogue,
  depot: DepotReader,
  tree: TreeId,
  signal: AbortSignal,
): Promise<void> {
  for (const id of decodeIndex(await readBlob(depot, indexName(tree), INDEX_BYTES, signal)).packs) {
    const head = await readHead(depot, id, signal);
    for (const frame of head.frames) for (const chunk of chunksOf(frame)) chunks.set(chunk.id, id);
    for (const file of head.lists.keys()) lists.set(file, id);
  }
}

async function hashOf(depot: DepotReader, name: string, signal: AbortSignal): Promise<Digest> {
  const sum = createHash("sha256");
  for await (const piece of depot.get(name, signal)) sum.update(piece);
  return sum.digest("hex") as Digest;
}

export interface KeepOptions {
  readonly tree: PublishedTree;
  readonly head: ExportHead;
  /** Holds the file's blobs. */
  readonly staging: Depot;
  readonly depot: Depot;
  readonly signal: AbortSignal;
}

/**
 * Proves that the file's blobs, with what the depot has, lead to the signed tree, then puts them into the depot, the
 * index last. @returns false where the depot had all of it before
 * @throws SkeinError EXPORT_NEEDS, EXPORT_DAMAGED; whatever the depot throws
 */
export async function keepImport(options: KeepOptions): Promise<boolean> {
  const { tree, head, staging, depot, signal } = options;
  if (await isThere(tree, depot, signal)) return false;
  const index = indexName(tree.tree);
  const own = head.blobs.filter(({ name }) => name.startsWith("packs/"));
  const packs = [
    ...own.map(({ name }) => name.slice("packs/".length) as Digest),
    ...(await packsOfEarlier(head, depot, signal)),
  ];
  // The same chunks lie in other packs here than where the file was made.
  await staging.put(index, bytesBlob(encodeIndex({ packs, deltas: [] })), signal);
  await prove(options);
  for (const { name, size, sha256 } of head.blobs) {
    if (name === index) continue;
    const open = (offset: number) => staging.get(name, signal, { start: offset });
    await depot.put(name, { size, sha256, open }, signal);
    faultPoint("import.kept");
  }
  await depot.put(index, bytesBlob(encodeIndex({ packs, deltas: [] })), signal);
  return true;
}

async function isThere(tree: PublishedTree, depot: DepotReader, signal: AbortSignal): Promise<boolean> {
  const packs = (await indexOf(depot, tree.tree, signal))?.packs;
  if (packs === undefined) return false;
  const tables = [`rows/${tree.rows}`, ...(tree.since === null ? [] : [`since/${tree.since}`])];
  const names = new Set([...packs.map(packName), ...tables]);
  return (await depot.has([...names], signal)).size === names.size;
}

async function packsOfEarlier(
  { from }: ExportHead,
  depot: DepotReader,
  signal: AbortSignal,
): Promise<readonly Digest[]> {
  if (from === null) return [];
  const index = await indexOf(depot, from, signal);
  if (index !== undefined) return index.packs;
  throw new SkeinError("EXPORT_NEEDS", `${depot.name} does not have the release that the file builds on`, {
    data: { tree: from },
  });
}

async function prove({ tree, head, staging, depot, signal }: KeepOptions): Promise<void> {
  try {
    await verifyTree([staging, depot], tree, signal);
  } catch (cause) {
    if (!isSkeinError(cause)) throw cause;
    if (head.from !== null && isSkeinError(cause, "CHUNK_MISSING", "BLOB_MISSING")) {
      throw new SkeinError("EXPORT_NEEDS", `${depot.name} lacks chunks that the file leaves out`, { cause });
    }
    const lies = [
      "BLOB_MISSING",
      "CHUNK_MISSING",
      "CHUNK_CORRUPT",
      "PACK_CORRUPT",
      "TREE_CORRUPT",
      "TREE_REFUSED",
    ];
    if (!lies.includes(cause.code)) throw cause;
    throw new SkeinError("EXPORT_DAMAGED", `the file does not hold what its release says: ${cause.message}`, {
      cause,
    });
  }
}
