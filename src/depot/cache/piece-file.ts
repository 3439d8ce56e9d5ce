import { crc32 } from "node:zlib";

/** A blob travels, and lies in caches, in pieces of at most so many bytes. */
export const PIECE_BYTES = 256 * 1024;

/**
 * What a node keeps of one piece of a blob (docs/formats/cache.md): the parts that it has, with a checksum each, then
 * their bytes. The checksum finds what a disk or a power cut did; what the bytes are worth is for their reader to
 * check, as with any depot.
 */
export interface Part {
  /** Offset in the piece, from 0. */
  readonly start: number;
  readonly bytes: Uint8Array;
}

export interface PieceContent {
  /** In order, neither touching nor overlapping. */
  readonly parts: readonly Part[];
  /** The blob ends where the last part does. */
  readonly ends: boolean;
}

const MAGIC = "skpiece1";
const HEAD_BYTES = 16;
const PART_BYTES = 12;
/** More parts than that are not kept: somebody reads a blob in crumbs. */
const MAX_PARTS = 64;

export function encodePiece({ parts, ends }: PieceContent): Buffer {
  const head = Buffer.alloc(HEAD_BYTES + parts.length * PART_BYTES);
  head.write(MAGIC, "latin1");
  head.writeUInt32LE(parts.length, 8);
  head.writeUInt32LE(ends ? 1 : 0, 12);
  for (const [n, { start, bytes }] of parts.entries()) {
    const at = HEAD_BYTES + n * PART_BYTES;
    head.writeUInt32LE(start, at);
    head.writeUInt32LE(start + bytes.length, at + 4);
    head.writeUInt32LE(crc32(bytes), at + 8);
  }
  return Buffer.concat([head, ...parts.map(({ bytes }) => bytes)]);
}

/** Undefined for anything that is not exactly what was written. */
export function decodePiece(file: Buffer): PieceContent | undefined {
  if (file.length < HEAD_BYTES || file.toString("latin1", 0, 8) !== MAGIC) return undefined;
  const count = file.readUInt32LE(8);
  let at = HEAD_BYTES + count * PART_BYTES;
  if (count > MAX_PARTS || at > file.length) return undefined;
  const parts: Part[] = [];
  let last = -1;
  for (let n = 0; n < count; n++) {
    const entry = HEAD_BYTES + n * PART_BYTES;
    const start = file.readUInt32LE(entry);
    const end = file.readUInt32LE(entry + 4);
    const bytes = file.subarray(at, at + end - start);
    if (start <= last || end <= start || end > PIECE_BYTES || bytes.length !== end - start) return undefined;
    if (crc32(bytes) !== file.readUInt32LE(entry + 8)) return undefined;
    parts.push({ start, bytes });
    last = end;
    at += bytes.length;
  }
  return at === file.length ? { parts, ends: file.readUInt32LE(12) === 1 } : undefined;
}

/**
 * With one more part, whose bytes count where others were held, and whose end counts where the blob was said to end
 * elsewhere: it was remade under its name. Undefined when there would be too many parts.
 */
export function withPart(before: PieceContent, added: Part, ends: boolean): PieceContent | undefined {
  const end = endOf(added);
  const content = ends ? upTo(before, end) : before;
  const isEnd = ends || (content.ends && endOf(content.parts.at(-1) ?? added) >= end);
  const touching = content.parts.filter((part) => part.start <= end && endOf(part) >= added.start);
  const start = Math.min(added.start, ...touching.map((part) => part.start));
  const bytes = touching.length === 0 ? added.bytes : merged(touching, added, start);
  const parts = [...content.parts.filter((part) => !touching.includes(part)), { start, bytes }];
  parts.sort((a, b) => a.start - b.start);
  return parts.length > MAX_PARTS ? undefined : { parts, ends: isEnd };
}

/** What is held before `end`. */
function upTo(content: PieceContent, end: number): PieceContent {
  const parts = content.parts
    .filter((part) => part.start < end)
    .map((part) => ({ ...part, bytes: part.bytes.subarray(0, end - part.start) }));
  return { ...content, parts };
}

function merged(touching: readonly Part[], added: Part, start: number): Buffer {
  const bytes = Buffer.alloc(Math.max(endOf(added), ...touching.map(endOf)) - start);
  for (const part of touching) bytes.set(part.bytes, part.start - start);
  bytes.set(added.bytes, added.start - start);
  return bytes;
}

const endOf = ({ start, bytes }: Part): number => start + bytes.length;

/** The bytes held from `start` on without a gap, at most up to `end`; undefined when there are none. */
export function heldFrom(content: PieceContent, start: number, end: number): Uint8Array | undefined {
  const part = content.parts.find((one) => one.start <= start && endOf(one) > start);
  return part?.bytes.subarray(start - part.start, Math.min(end, endOf(part)) - part.start);
}

/** Whether `at` is where the blob ends. */
export function endsAt(content: PieceContent, at: number): boolean {
  const last = content.parts.at(-1);
  return content.ends && last !== undefined && endOf(last) === at;
}
