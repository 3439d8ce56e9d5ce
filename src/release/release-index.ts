import { isDigest, type Digest, type TreeId } from "../lib/ids.ts";
import { SkeinError } from "../lib/errors.ts";

/**
 * Which packs hold a tree's chunks and row segments, newest first. Unsigned: it may be remade at any time, and is
 * proved by where it leads. It is the last thing that publishing writes: a tree with an index is there in full.
 */
const HEAD = "skein-index-1\n";
const MAX_PACKS = 10_000;

export const indexName = (tree: TreeId): string => `index/${tree}`;

/** Longest index that is read, in bytes. */
export const INDEX_BYTES = 1024 * 1024;

export function encodeIndex(packs: readonly Digest[]): Buffer {
  return Buffer.from(HEAD + packs.map((id) => `pack ${id}\n`).join(""));
}

/** @throws SkeinError PACK_CORRUPT */
export function decodeIndex(bytes: Uint8Array): Digest[] {
  const text = Buffer.from(bytes).toString("latin1");
  if (!text.startsWith(HEAD) || !text.endsWith("\n")) throw damaged();
  const lines = text.slice(HEAD.length).split("\n").slice(0, -1);
  if (lines.length > MAX_PACKS) throw damaged();
  return lines.map((line) => {
    const id = line.slice("pack ".length);
    if (!line.startsWith("pack ") || !isDigest(id)) throw damaged();
    return id;
  });
}

function damaged(): SkeinError {
  return new SkeinError("PACK_CORRUPT", "the release's index cannot be read");
}
