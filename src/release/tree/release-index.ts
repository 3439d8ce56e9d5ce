import { isDigest, type Digest, type TreeId } from "../../lib/text/ids.ts";
import { SkeinError } from "../../lib/errors/errors.ts";

/**
 * Where a tree is in a depot. Unsigned: it may be remade at any time, and is proved by where it leads. It is the last
 * thing that publishing writes: a tree with an index is there in full.
 */
export interface ReleaseIndex {
  /** The packs that hold the tree's chunks and row segments, newest first. */
  readonly packs: readonly Digest[];
  /** Deltas that lead to the tree. */
  readonly deltas: readonly DeltaRef[];
}

export interface DeltaRef {
  /** The tree that it leads from. */
  readonly from: TreeId;
  /** 0: there is none, since packs are cheaper. */
  readonly bytes: number;
}

const HEAD = "skein-index-1\n";
const MAX_PACKS = 10_000;
/** The newest are kept. */
const MAX_DELTAS = 64;
const MAX_DELTA_BYTES = 2 ** 40;

export const indexName = (tree: TreeId): string => `index/${tree}`;
export const deltaName = (to: TreeId, from: TreeId): string => `deltas/${to}.${from}`;

/** Longest index that is read, in bytes. */
export const INDEX_BYTES = 1024 * 1024;

/** @throws SkeinError TREE_REFUSED where nobody would read it */
export function encodeIndex({ packs, deltas }: ReleaseIndex): Buffer {
  refuseManyPacks(packs.length);
  const lines = [
    ...packs.map((id) => `pack ${id}\n`),
    ...deltas.slice(0, MAX_DELTAS).map(({ from, bytes }) => `delta ${from} ${bytes}\n`),
  ];
  return Buffer.from(HEAD + lines.join(""));
}

/** @throws SkeinError TREE_REFUSED where more packs than an index names would hold a tree */
export function refuseManyPacks(packs: number): void {
  if (packs <= MAX_PACKS) return;
  throw new SkeinError("TREE_REFUSED", `the release fills more than ${MAX_PACKS} packs of 16 MiB`, {
    hint: "Leave out what needs no deploying, or deploy it as several apps.",
    data: { packs, limit: MAX_PACKS },
  });
}

/** @throws SkeinError PACK_CORRUPT */
export function decodeIndex(bytes: Uint8Array): ReleaseIndex {
  const text = Buffer.from(bytes).toString("latin1");
  if (!text.startsWith(HEAD) || !text.endsWith("\n")) throw damaged();
  const lines = text.slice(HEAD.length).split("\n").slice(0, -1);
  const first = lines.findIndex((line) => line.startsWith("delta "));
  const end = first === -1 ? lines.length : first;
  if (end > MAX_PACKS || lines.length - end > MAX_DELTAS) throw damaged();
  return { packs: lines.slice(0, end).map(decodePack), deltas: lines.slice(end).map(decodeDelta) };
}

function decodePack(line: string): Digest {
  const id = line.slice("pack ".length);
  if (!line.startsWith("pack ") || !isDigest(id)) throw damaged();
  return id;
}

function decodeDelta(line: string): DeltaRef {
  const [word, from = "", digits = "", ...more] = line.split(" ");
  const bytes = Number(digits);
  const isRight = word === "delta" && isDigest(from) && /^(0|[1-9][0-9]*)$/.test(digits) && more.length === 0;
  if (!isRight || bytes > MAX_DELTA_BYTES) throw damaged();
  return { from: from as string as TreeId, bytes };
}

function damaged(): SkeinError {
  return new SkeinError("PACK_CORRUPT", "the release's index cannot be read");
}
