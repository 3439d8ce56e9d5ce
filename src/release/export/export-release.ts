import type { Depot, DepotReader, PrunableDepot } from "../../depot/seam/depot.ts";
import { readBy } from "../../depot/seam/read-by.ts";
import { createHash } from "node:crypto";
import type { ChunkId, Digest, TreeId } from "../../lib/text/ids.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { bytesBlob, getCompressed, readBlob, readHead } from "../fetch/blobs.ts";
import { enter, type Catalogue } from "../publish/catalogue.ts";
import { chunksOf, packName } from "../tree/pack.ts";
import type { PublishedTree } from "../tree/published.ts";
import { decodeIndex, encodeIndex, INDEX_BYTES, indexName } from "../tree/release-index.ts";
import { isFileRow } from "../tree/rows.ts";
import { indexOf, isStored, isUnreadable, TABLE_BYTES, type LoadedTree } from "../fetch/tree-blobs.ts";
import { chunksOfTree } from "./chunk-walk.ts";
import { copyTree } from "./copy-tree.ts";
import type { ExportHead } from "./export-file.ts";
import { verifyTree } from "./verify-tree.ts";

const PACKS = packName("");

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
  known: Catalogue,
  depot: DepotReader,
  tree: TreeId,
  signal: AbortSignal,
): Promise<void> {
  for (const id of decodeIndex(await readBlob(depot, indexName(tree), INDEX_BYTES, signal)).packs) {
    enter(known, id, await readHead(depot, id, signal));
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
  refuseOthers(head, tree);
  if (await isStored(depot, tree, signal)) return false;
  const index = indexName(tree.tree);
  const own = head.blobs.filter(({ name }) => name.startsWith(PACKS));
  const packs = [
    ...own.map(({ name }) => name.slice(PACKS.length) as Digest),
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

/**
 * Only what the signed tree leads to is proved: another release's tables or index, or a pack of other bytes than its
 * name says, would take the place of good ones in the depot.
 * @throws SkeinError EXPORT_DAMAGED
 */
function refuseOthers({ blobs }: ExportHead, tree: PublishedTree): void {
  const own = new Set([indexName(tree.tree), `rows/${tree.rows}`, `since/${tree.since}`]);
  const other = blobs.find(({ name, sha256 }) => !own.has(name) && name !== packName(sha256));
  if (other === undefined) return;
  throw new SkeinError("EXPORT_DAMAGED", `the file holds ${other.name}, which is no part of its release`, {
    data: { blob: other.name },
  });
}

async function packsOfEarlier(
  { from }: ExportHead,
  depot: DepotReader,
  signal: AbortSignal,
): Promise<readonly Digest[]> {
  if (from === null) return [];
  const index = await indexOf(depot, from.tree, signal);
  if (index !== undefined) return index.packs;
  throw needs(from, `${depot.name} does not have it`);
}

async function prove({ tree, head, staging, depot, signal }: KeepOptions): Promise<void> {
  try {
    await proveTables(head, staging, signal);
    const depots = head.from === null ? [staging] : [staging, without(indexName(tree.tree), depot)];
    await proveNoMore(head, await verifyTree(depots, tree, signal), staging, signal);
  } catch (cause) {
    if (!isSkeinError(cause)) throw cause;
    if (head.from !== null && isSkeinError(cause, "CHUNK_MISSING", "BLOB_MISSING")) {
      throw needs(head.from, `${depot.name} lacks chunks of it: ${cause.message}`, cause);
    }
    if (!isUnreadable(cause) && !isSkeinError(cause, "TREE_REFUSED")) throw cause;
    throw new SkeinError("EXPORT_DAMAGED", `the file does not hold what its release says: ${cause.message}`, {
      cause,
    });
  }
}

/** An index there may name packs that the depot has lost: what is to be proved is this import's own. */
function without(hidden: string, depot: DepotReader): DepotReader {
  return readBy(depot, (name, signal, range) => {
    if (name === hidden) throw new SkeinError("BLOB_MISSING", `no ${name}`, { data: { blob: name } });
    return depot.get(name, signal, range);
  });
}

function needs(from: Exclude<ExportHead["from"], null>, why: string, cause?: unknown): SkeinError {
  const { release } = from;
  return new SkeinError("EXPORT_NEEDS", `the file builds on release ${release.slice(0, 8)}: ${why}`, {
    data: { release, tree: from.tree },
    cause,
  });
}

/** The file's own: what is read of the whole tree may be the depot's. */
async function proveTables({ blobs }: ExportHead, staging: DepotReader, signal: AbortSignal): Promise<void> {
  for (const { name } of blobs) {
    const [folder, id = ""] = name.split("/");
    if (folder === "rows" || folder === "since")
      await getCompressed(staging, folder, id as Digest, TABLE_BYTES, signal);
  }
}

/** What later releases find in these packs they lean on: so nothing may be in them that was not proved with the tree. */
async function proveNoMore(
  { blobs }: ExportHead,
  tree: LoadedTree,
  staging: DepotReader,
  signal: AbortSignal,
): Promise<void> {
  const chunks = await chunksOfTree(tree);
  for (const { id } of tree.segments) chunks.add(id as string as ChunkId);
  const files = new Set(tree.rows.flatMap((row) => (isFileRow(row) ? [row.sha256] : [])));
  for (const { name } of blobs.filter((blob) => blob.name.startsWith(PACKS))) {
    const head = await readHead(staging, name.slice(PACKS.length) as Digest, signal);
    // The depot may have the same file cut otherwise.
    for (const list of head.lists.values()) for (const { id } of list) chunks.add(id);
    const isOwn =
      head.frames.every((frame) => chunksOf(frame).every(({ id }) => chunks.has(id))) &&
      head.lists.keys().every((file) => files.has(file));
    if (!isOwn) throw new SkeinError("PACK_CORRUPT", `${name} holds what is no part of the release`);
  }
}
