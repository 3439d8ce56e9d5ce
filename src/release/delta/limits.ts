/**
 * What a delta may hold; docs/formats/delta.md states them. A receiver refuses more before it makes room for it.
 */
export const DELTA_MAGIC = "skd1";
/** Longest description of the tree, inflated, in bytes: some 500,000 rows that all changed. */
export const TREE_BYTES = 64 * 1024 * 1024;
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
