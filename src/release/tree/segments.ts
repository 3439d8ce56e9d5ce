import { digestOf, isDigest, type Digest, type TreeId } from "../../lib/text/ids.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { freeNow } from "../../lib/memory/free.ts";
import { encodeRow, isFileRow, treeIdOf, type Row } from "./rows.ts";

/**
 * A tree's rows travel in segments of about 16 KiB. Where one ends depends on paths alone, so a file whose content
 * changed costs its own segment, and one that came or went costs a neighbour more at most (one in a thousand, some more:
 * where it moves a cut, later ones have to find together again).
 */
export interface Segment extends TreeSegment {
  readonly bytes: Buffer;
}

export interface TreeSegment extends SegmentRef {
  readonly rows: number;
  /** How many of its rows are files. */
  readonly files: number;
}

export interface SegmentRef {
  /** SHA-256 of its bytes. */
  readonly id: Digest;
  /** In bytes. */
  readonly length: number;
}

const MIN_SEGMENT = 8 * 1024;
const MAX_SEGMENT = 64 * 1024;
/** A row in so many ends its segment, once that has its least length. */
const ROWS_PER_CUT = 64;
const ROOT_HEAD = "skein-rows-1\n";

/** In bytes: MAX_SEGMENT and one longest row, every character of three bytes. Less than a chunk may have. */
export const SEGMENT_BOUND = 224 * 1024;

/** Longest list of segments, in bytes: many times what a million rows need. */
export const ROOT_BYTES = 4 * 1024 * 1024;
/** All rows of a tree, encoded: a million of them, each of 256 bytes. Whoever reads a tree holds so much at once. */
export const ROWS_BYTES = 256 * 1024 * 1024;

/** What a tree's rows are in the end. */
export interface Outline {
  readonly tree: TreeId;
  readonly segments: readonly TreeSegment[];
}

export function outlineOf(rows: readonly Row[]): Outline {
  const segments: TreeSegment[] = [];
  return { tree: treeIdOf(cutting(rows, segments)), segments };
}

/** The bytes of the rows' segments, each only until the next one is asked for; what they are goes into `segments`. */
function* cutting(rows: readonly Row[], segments: TreeSegment[]): Generator<Buffer, void> {
  for (const { bytes, ...segment } of eachSegment(rows)) {
    segments.push(segment);
    yield bytes;
    freeNow(bytes);
  }
}

/** One after the other: nobody has to hold all their bytes. */
export function* eachSegment(rows: readonly Row[]): Generator<Segment, void> {
  let text = "";
  let rowsIn = 0;
  let files = 0;
  const end = (): Segment => {
    const bytes = Buffer.from(text);
    const segment = { id: digestOf(bytes), length: bytes.length, bytes, rows: rowsIn, files };
    text = "";
    rowsIn = 0;
    files = 0;
    return segment;
  };
  for (const row of rows) {
    text += encodeRow(row);
    rowsIn += 1;
    if (isFileRow(row)) files += 1;
    // Lengths are counted in UTF-16 units of the text: exact enough to bound, and the same everywhere.
    if (text.length >= MAX_SEGMENT || (text.length >= MIN_SEGMENT && endsSegment(row.path))) yield end();
  }
  if (text !== "") yield end();
}

/** FNV-1a over the path's UTF-16 units. */
function endsSegment(path: string): boolean {
  let sum = 0x811c9dc5;
  for (let i = 0; i < path.length; i++) sum = Math.imul(sum ^ path.charCodeAt(i), 0x01000193);
  return ((sum ^ (sum >>> 15)) >>> 0) % ROWS_PER_CUT === 0;
}

/** What `rows` in a release document is the digest of: the segments' ids and lengths, in order. */
export function encodeRoot(segments: readonly SegmentRef[]): Buffer {
  return Buffer.from(ROOT_HEAD + segments.map(({ id, length }) => `${id} ${length}\n`).join(""));
}

/** @throws SkeinError TREE_CORRUPT */
export function decodeRoot(bytes: Uint8Array): SegmentRef[] {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
  if (!text.startsWith(ROOT_HEAD) || !text.endsWith("\n")) throw badRoot();
  const lines = text.slice(ROOT_HEAD.length).split("\n").slice(0, -1);
  const refs = lines.map((line) => {
    const [id = "", digits = "", ...more] = line.split(" ");
    const length = Number(digits);
    if (!isDigest(id) || !/^[1-9][0-9]{0,5}$/.test(digits) || length > SEGMENT_BOUND || more.length > 0) {
      throw badRoot();
    }
    return { id, length };
  });
  // Rows are in order and none comes twice: a segment that is named again and again costs its writer one.
  if (new Set(refs.map(({ id }) => id)).size < refs.length) throw badRoot();
  if (refs.reduce((sum, { length }) => sum + length, 0) > ROWS_BYTES) throw badRoot();
  return refs;
}

function badRoot(): SkeinError {
  return new SkeinError("TREE_CORRUPT", "the list of row segments cannot be read");
}
