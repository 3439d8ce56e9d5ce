/**
 * What a delta may hold; docs/formats/delta.md states them. A receiver refuses more before it makes room for it.
 */
export const DELTA_MAGIC = "skd1";
/** Longest description of the tree, inflated, in bytes: some 500,000 rows that all changed. */
export const TREE_BYTES = 64 * 1024 * 1024;
/**
 * Most that the rows which a delta describes may come to, each counted as `ROW_BYTES` and its path. A path is told by
 * what it shares with the one before, so that a few bytes would make any number of long ones.
 */
export const DESCRIBED_BYTES = 64 * 1024 * 1024;
export const ROW_BYTES = 64;
/**
 * Most bytes of all blocks together, as they arrive: no maker needs more, and a receiver keeps them on its disk.
 *
 *   most = 2 * size of all new contents + 64 * number of new contents + 64 KiB
 */
export function mostBlockBytes(contents: readonly { readonly size: number }[]): number {
  return contents.reduce((sum, { size }) => sum + 2 * size + 64, 64 * 1024);
}
/** Most bytes of differences and literals together in one block. */
export const BLOCK_BYTES = 1024 * 1024;
/** Most bytes of instructions in one block. */
export const CONTROL_BYTES = 256 * 1024;
/** Most bytes of frames with a dictionary in one block. */
export const FRAMES_BYTES = 768 * 1024;
/** Largest file, and largest sum of old files as its dictionary, of a frame with a dictionary. */
export const DICTIONARY_BYTES = 512 * 1024;
/** Old files that one new file may be made from. */
export const MAX_BASES = 8;
/** log2 of how far back a compressed stream may refer: what a receiver keeps of each. */
export const WINDOW_LOG = 22;
