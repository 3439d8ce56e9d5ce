import { readFile } from "node:fs/promises";
import path from "node:path";
import { digestOf, isDigest, type ChunkId, type Digest } from "../../lib/text/ids.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";
import { writeCacheFile } from "../../lib/disk/files.ts";
import type { Depot, DepotReader } from "../../depot/seam/depot.ts";
import { readHeadBytes } from "../fetch/blobs.ts";
import { chunksOf, decodeHead, type ChunkRef, type PackHead } from "../tree/pack.ts";

/** What a depot holds, as far as its packs' heads say. */
export interface Catalogue {
  /** Which pack a chunk is in. */
  readonly chunks: Map<ChunkId, Digest>;
  /** Which pack has the chunk list of a file, and what it says. */
  readonly lists: Map<Digest, KnownList>;
}

interface KnownList {
  readonly pack: Digest;
  /** As `markOf` gives it; of no list where packs say different things. */
  readonly mark: string;
}

/** Of packs that contradict each other: whoever knows the list stores it again. */
const DISPUTED = "";

/** Tells lists apart: a head is proved by nothing in what it says of files, and whoever wrote it may have lied. */
export const markOf = (list: readonly ChunkRef[]): string =>
  digestOf(list.map(({ id, length }) => `${id} ${length}\n`).join(""));

/** Packs whose heads are read; more are not looked at, and their chunks are stored again. */
export const MAX_HEADS = 512;
/** Of chunks: with so many known, no more packs are looked at than the first. They take some 150 MiB. */
const MOST_KNOWN = 1_000_000;
const AT_ONCE = 8;

/** Reads the heads of the depot's packs, `first` before others; heads are kept in `cacheDir`. */
export async function readCatalogue(
  depot: Depot,
  first: readonly Digest[],
  cacheDir: string | null,
  signal: AbortSignal,
  mostKnown = MOST_KNOWN,
): Promise<Catalogue> {
  const there = new Set<Digest>();
  for await (const name of depot.list("packs/", signal)) {
    const id = name.slice("packs/".length);
    if (isDigest(id)) there.add(id);
  }
  const names = new Set(first.filter((id) => there.has(id)));
  const before = new Set(names);
  for (const id of there) if (names.size < MAX_HEADS) names.add(id);
  return await readHeads(
    depot,
    names,
    cacheDir,
    signal,
    (id, { size }) => before.has(id) || size < mostKnown,
  );
}

/**
 * What these packs hold; those that cannot be read hold nothing.
 * @param isWanted asked of each in turn, with what is known by then. Default: all are
 */
export async function readHeads(
  depot: DepotReader,
  packs: Iterable<Digest>,
  cacheDir: string | null,
  signal: AbortSignal,
  isWanted: (pack: Digest, known: Catalogue["chunks"]) => boolean = () => true,
): Promise<Catalogue> {
  const catalogue: Catalogue = { chunks: new Map(), lists: new Map() };
  const todo = [...packs];
  const work = async (): Promise<void> => {
    for (let id = todo.shift(); id !== undefined; id = todo.shift()) {
      if (!isWanted(id, catalogue.chunks)) continue;
      const head = await headOf(depot, id, cacheDir, signal);
      if (head !== undefined) enter(catalogue, id, head);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return catalogue;
}

/** The head, or undefined when it cannot be read: such a pack's chunks are stored again. */
async function headOf(
  depot: DepotReader,
  id: Digest,
  cacheDir: string | null,
  signal: AbortSignal,
): Promise<PackHead | undefined> {
  const file = cacheDir === null ? undefined : path.join(cacheDir, "heads", id);
  const kept = file === undefined ? undefined : await readKept(file);
  if (kept !== undefined) return kept;
  try {
    const bytes = await readHeadBytes(depot, id, signal);
    const head = decodeHead(bytes);
    if (file !== undefined) await writeCacheFile(file, bytes);
    return head;
  } catch (err) {
    signal.throwIfAborted();
    if (isSkeinError(err, "PACK_CORRUPT", "BLOB_MISSING")) return undefined;
    throw err;
  }
}

async function readKept(file: string): Promise<PackHead | undefined> {
  try {
    return decodeHead(await readFile(file));
  } catch {
    return undefined;
  }
}

export function enter(catalogue: Catalogue, id: Digest, head: PackHead): void {
  for (const frame of head.frames) {
    for (const chunk of chunksOf(frame))
      if (!catalogue.chunks.has(chunk.id)) catalogue.chunks.set(chunk.id, id);
  }
  for (const [file, list] of head.lists) {
    const known = catalogue.lists.get(file);
    const mark = markOf(list);
    if (known === undefined) catalogue.lists.set(file, { pack: id, mark });
    else if (known.mark !== mark) catalogue.lists.set(file, { pack: id, mark: DISPUTED });
  }
}
