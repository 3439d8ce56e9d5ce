import type { Depot } from "../../depot/seam/depot.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import type { ChunkId, Digest, TreeId } from "../../lib/text/ids.ts";
import { bytesBlob, readHead } from "../fetch/blobs.ts";
import { markOf, readHeads, type Catalogue } from "../publish/catalogue.ts";
import { chunksOfTree, walkChunks } from "../export/chunk-walk.ts";
import { Fetcher } from "../fetch/fetcher.ts";
import { chunksOf, type ChunkRef } from "../tree/pack.ts";
import { PackWriter } from "../publish/pack-writer.ts";
import type { PublishedTree } from "../tree/published.ts";
import { encodeIndex, indexName } from "../tree/release-index.ts";
import { isFileRow } from "../tree/rows.ts";
import { indexOf, isUnreadable, loadTree, type LoadedTree } from "../fetch/tree-blobs.ts";
import { packsToRewrite, REPACK, type Census, type RepackRule } from "./repack-plan.ts";

/**
 * Keeps old depots fast: puts what kept releases need of emptied and of many small packs into new ones, then points
 * their indexes there. Old packs are left for a collection to take (collect.ts), so whoever reads or publishes with
 * them meanwhile finds them; an index is unsigned and may be remade by anybody at any time. Killed anywhere, it leaves
 * packs that nobody needs, at worst.
 *
 * Memory: about 40 bytes for each needed chunk (64 KiB on average), and the tables of one tree.
 */
export interface RepackOptions {
  readonly depot: Depot;
  readonly roots: (signal: AbortSignal) => AsyncIterable<PublishedTree> | Iterable<PublishedTree>;
  readonly rule?: RepackRule;
  readonly signal: AbortSignal;
}

export interface Repacked {
  /** Packs that no kept release needs any more. */
  readonly replaced: number;
  /** Packs that were made. */
  readonly made: number;
  /** Their bytes. */
  readonly bytes: number;
}

/** A tree of which something is damaged stays as it is. @throws whatever the depot throws */
export async function repack(options: RepackOptions): Promise<Repacked> {
  const { depot, signal, rule = REPACK } = options;
  const roots = new Map<TreeId, PublishedTree>();
  for await (const root of options.roots(signal)) roots.set(root.tree, root);
  const chosen = packsToRewrite(await census(depot, [...roots.values()], signal), rule);
  const known: Catalogue = { chunks: new Map(), lists: new Map() };
  // This runs beside other work.
  const writer = new PackWriter(depot, known, "quick");
  const moved: Moved[] = [];
  const stay = new Set<Digest>();
  for (const root of chosen.size === 0 ? [] : roots.values()) {
    try {
      const part = await moveOut(depot, root, chosen, writer, signal);
      if (part !== undefined) moved.push(part);
    } catch (err) {
      if (!isUnreadable(err)) throw err;
      for (const pack of (await indexOf(depot, root.tree, signal))?.packs ?? []) stay.add(pack);
    }
  }
  await writer.end(signal);
  faultPoint("repack.packed");
  for (const part of moved) {
    await pointIndex(depot, part, chosen, known, signal);
    faultPoint("repack.pointed");
  }
  return { replaced: chosen.difference(stay).size, made: writer.stored.length, bytes: writer.storedBytes };
}

/** What a tree needs of the packs that are given up. */
interface Moved {
  readonly tree: TreeId;
  /** Of its index, as it was read. */
  readonly packs: readonly Digest[];
  readonly chunks: readonly ChunkId[];
  readonly lists: readonly Digest[];
}

async function census(depot: Depot, roots: readonly PublishedTree[], signal: AbortSignal): Promise<Census> {
  const live = new Map<Digest, Set<number>>();
  const trees: (readonly Digest[])[] = [];
  for (const root of roots) {
    const needing = await needingOrNone(depot, root, signal);
    if (needing === undefined) continue;
    const { tree, needed: ids } = needing;
    const packs = new Set<Digest>();
    for (const id of ids) {
      const pack = tree.packs.chunks.get(id)?.pack;
      if (pack === undefined) continue;
      packs.add(pack);
      live.set(pack, (live.get(pack) ?? new Set()).add(shortOf(id)));
    }
    trees.push([...packs]);
  }
  const packs = new Map<Digest, { bytes: number; live: number }>();
  for (const [pack, needed] of live) {
    const chunks = (await readHead(depot, pack, signal)).frames.flatMap(chunksOf);
    const sumOf = (some: readonly ChunkRef[]): number => some.reduce((sum, { length }) => sum + length, 0);
    const used = chunks.filter(({ id }) => needed.has(shortOf(id)));
    packs.set(pack, { bytes: sumOf(chunks), live: sumOf(used) });
  }
  return { packs, trees };
}

/** 48 bits of a hash tell the chunks of one pack apart; a mistake would cost a few bytes. */
const shortOf = (id: ChunkId): number => Number.parseInt(id.slice(0, 12), 16);

interface Needing {
  readonly tree: LoadedTree;
  /** Chunks of files and rows. */
  readonly needed: ReadonlySet<ChunkId>;
}

/**
 * A tree that cannot be read is left as it is: something of it is damaged, or was out of use when it came to be kept,
 * and the collection that follows brings that back.
 */
async function needingOrNone(
  depot: Depot,
  root: PublishedTree,
  signal: AbortSignal,
): Promise<Needing | undefined> {
  try {
    const tree = await loadTree(new Fetcher([depot], signal), root);
    const needed = await chunksOfTree(tree);
    for (const { id } of tree.segments) needed.add(id as string as ChunkId);
    return { tree, needed };
  } catch (err) {
    if (isUnreadable(err)) return undefined;
    throw err;
  }
}

/** Copies what a tree needs of the chosen packs; undefined where it needs nothing of them. */
async function moveOut(
  depot: Depot,
  root: PublishedTree,
  chosen: ReadonlySet<Digest>,
  writer: PackWriter,
  signal: AbortSignal,
): Promise<Moved | undefined> {
  const needing = await needingOrNone(depot, root, signal);
  const index = needing && (await indexOf(depot, root.tree, signal));
  if (needing === undefined || index?.packs.some((pack) => chosen.has(pack)) !== true) return undefined;
  const { tree, needed } = needing;
  const isGivenUp = (id: ChunkId): boolean => {
    const place = tree.packs.chunks.get(id);
    return place !== undefined && chosen.has(place.pack);
  };
  const chunks = [...needed].filter(isGivenUp);
  await walkChunks(
    tree.packs,
    chunks,
    (chunk, bytes) => writer.add(chunk, bytes),
    async () => {
      if (writer.isFull) await writer.flush(signal);
    },
  );
  const others = index.packs.filter((pack) => !chosen.has(pack));
  const { lists: elsewhere } = await readHeads(depot, others, null, signal);
  const lists: Digest[] = [];
  for (const row of tree.rows) {
    const list = isFileRow(row) ? tree.packs.lists.get(row.sha256) : undefined;
    if (list === undefined || !isFileRow(row)) continue;
    if (elsewhere.get(row.sha256)?.mark === markOf(list)) continue;
    await writer.addList(row.sha256, list, signal);
    lists.push(row.sha256);
    if (writer.isFull) await writer.flush(signal);
  }
  return { tree: root.tree, packs: index.packs, chunks, lists };
}

/** Names the new packs in place of the old ones. One that was remade meanwhile is left: it leads somewhere else. */
async function pointIndex(
  depot: Depot,
  { tree, packs: before, chunks, lists }: Moved,
  chosen: ReadonlySet<Digest>,
  known: Catalogue,
  signal: AbortSignal,
): Promise<void> {
  const index = await indexOf(depot, tree, signal);
  if (index === undefined || index.packs.join() !== before.join()) return;
  const made = new Set<Digest>();
  for (const pack of [
    ...chunks.map((id) => known.chunks.get(id)),
    ...lists.map((file) => known.lists.get(file)?.pack),
  ]) {
    if (pack !== undefined) made.add(pack);
  }
  const kept = index.packs.filter((pack) => !chosen.has(pack) && !made.has(pack));
  const packs = [...made, ...kept];
  await depot.put(indexName(tree), bytesBlob(encodeIndex({ ...index, packs })), signal);
}
