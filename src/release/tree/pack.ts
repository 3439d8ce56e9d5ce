import { createHash, hash } from "node:crypto";
import { promisify } from "node:util";
import { constants, zstdCompressSync, zstdDecompress, zstdDecompressSync } from "node:zlib";
import { digestOf, type ChunkId, type Digest } from "../../lib/text/ids.ts";
import { isSkeinError, messageOf, SkeinError } from "../../lib/errors/errors.ts";
import { freeNow } from "../../lib/memory/free.ts";
import { MAX_CHUNK } from "./gear.ts";

/**
 * A pack is what chunks are stored and sent as: a head that lists them, then zstd frames of whole chunks, at most
 * 1 MiB each when inflated. docs/formats/pack.md states the bytes. Packs are not signed: every chunk is proved by
 * its id, and every file by its hash in the tree.
 */
export const FRAME_BYTES = 1024 * 1024;
export const PACK_BYTES = 16 * 1024 * 1024;
/** Magic, lengths of the head, and the start of its hash. */
export const PRELUDE_BYTES = 32;
/** A head inflates to at most this. */
export const HEAD_BYTES = 8 * 1024 * 1024;
/** Chunks and lists that a head has room for, whatever its frames. */
export const HEAD_ENTRIES = 220_000;
/** Of one file: their list stands in one head. */
export const MOST_CHUNKS = 200_000;
const MAGIC = "skpack1\n";
const COUNTS = 12;
const FRAME_ENTRY = 8;
/** In a head: a chunk's id and its length, in bytes. */
export const CHUNK_ENTRY = 36;

export interface ChunkRef {
  readonly id: ChunkId;
  /** In bytes, inflated. */
  readonly length: number;
}

export interface FrameRef {
  /** Offset in the pack's file. */
  readonly start: number;
  /** Compressed length. */
  readonly length: number;
  /** Inflated length. */
  readonly raw: number;
  /** What the head says of its chunks, `CHUNK_ENTRY` bytes each. */
  readonly entries: Buffer;
}

export interface PackHead {
  readonly frames: readonly FrameRef[];
  /** Digest of a file of more than one chunk → its chunks in order. */
  readonly lists: ReadonlyMap<Digest, readonly ChunkRef[]>;
  /** Of the whole pack. */
  readonly size: number;
}

export const packName = (id: string): string => `packs/${id}`;

export interface PackedFrame {
  /** Compressed length. */
  readonly length: number;
  readonly chunks: readonly ChunkRef[];
}

export interface EncodedPack {
  readonly id: Digest;
  readonly size: number;
  /** The pack's bytes are these, one after the other. */
  readonly pieces: readonly Buffer[];
}

/** `body`: the frames, compressed, one after the other. It is not copied. */
export function encodePack(
  frames: readonly PackedFrame[],
  body: Buffer,
  lists: ReadonlyMap<Digest, readonly ChunkRef[]>,
): EncodedPack {
  const raw = encodeHead(frames, lists);
  const head = compress(raw, 3);
  const prelude = Buffer.alloc(PRELUDE_BYTES);
  prelude.write(MAGIC, "latin1");
  prelude.writeUInt32LE(head.length, 8);
  prelude.writeUInt32LE(raw.length, 12);
  hash("sha256", head, "buffer").copy(prelude, 16, 0, 16);
  const pieces = [prelude, head, body];
  const sum = createHash("sha256");
  for (const piece of pieces) sum.update(piece);
  const size = prelude.length + head.length + body.length;
  return { id: sum.digest("hex") as Digest, size, pieces };
}

/** How many bytes of the pack the prelude and the head take together. @throws SkeinError PACK_CORRUPT */
export function headLength(prelude: Buffer): number {
  if (prelude.length < PRELUDE_BYTES || prelude.toString("latin1", 0, 8) !== MAGIC) {
    throw damaged("it does not begin as a pack");
  }
  const length = prelude.readUInt32LE(8);
  if (length > HEAD_BYTES || prelude.readUInt32LE(12) > HEAD_BYTES) throw damaged("its head is too long");
  return PRELUDE_BYTES + length;
}

/** Parses a pack's first `headLength` bytes. @throws SkeinError PACK_CORRUPT */
export function decodeHead(bytes: Buffer): PackHead {
  const end = headLength(bytes);
  const head = bytes.subarray(PRELUDE_BYTES, end);
  if (bytes.length < end || hash("sha256", head, "buffer").compare(bytes, 16, 32, 0, 16) !== 0) {
    throw damaged("its head is cut or changed");
  }
  const raw = inflate(head, bytes.readUInt32LE(12));
  const counts = { chunks: u32(raw, 0), frames: u32(raw, 4), lists: u32(raw, 8) };
  const chunksAt = COUNTS + counts.frames * FRAME_ENTRY;
  const listsAt = chunksAt + counts.chunks * CHUNK_ENTRY;
  if (listsAt > raw.length) throw damaged("its head is too short");
  const frames = readFrames(raw.subarray(0, listsAt), counts.frames, chunksAt, end);
  const last = frames.at(-1);
  return {
    frames,
    lists: readLists(raw, listsAt, counts.lists),
    size: last === undefined ? end : last.start + last.length,
  };
}

/**
 * Hands on the chunks of an inflated frame, in order, each checked against its id; the bytes are only lent, and their
 * memory is given back.
 * @throws SkeinError CHUNK_CORRUPT, before the first is handed on
 */
export function openFrame(
  frame: FrameRef,
  raw: Buffer,
  take: (chunk: ChunkRef, bytes: Buffer) => void,
): void {
  proveFrame(frame.entries, raw);
  let at = 0;
  for (const chunk of chunksOf(frame)) {
    take(chunk, raw.subarray(at, at + chunk.length));
    at += chunk.length;
  }
  freeNow(raw);
}

/**
 * Every chunk of an inflated frame is what its id says.
 * @param entries what the pack's head says of them
 * @throws SkeinError CHUNK_CORRUPT
 */
export function proveFrame(entries: Buffer, raw: Buffer): void {
  let start = 0;
  for (let at = 0; at < entries.length; at += CHUNK_ENTRY) {
    const end = start + chunkLength(entries, at);
    const chunk = entries.toString("hex", at, at + 32);
    if (digestOf(raw.subarray(start, end)) !== chunk) {
      throw new SkeinError("CHUNK_CORRUPT", `chunk ${chunk} has other bytes than its id says`, {
        data: { chunk },
      });
    }
    start = end;
  }
}

/** `hard`: three times the CPU of `quick` for a tenth fewer bytes. */
export type Effort = "hard" | "quick";

const LEVELS = { hard: 9, quick: 3 } as const;
/** Chunks shorter than this in the mean are whole small files. */
const SMALL_CHUNK = 32 * 1024;

type Tables = Readonly<Record<number, number>>;

/**
 * At level 3 zstd's table for long matches at half the size that it would give it, and the one for short matches at a
 * quarter: they stay in a core's cache beside the frame, which takes a seventh off its time. Matches of four bytes give
 * back what the smaller table loses; in all it costs 1 % more bytes.
 */
const TWO_TABLES: Tables = {
  [constants.ZSTD_c_hashLog]: 16,
  [constants.ZSTD_c_chainLog]: 14,
  [constants.ZSTD_c_minMatch]: 4,
};

/** Another seventh off for 3 % more bytes where files are small; where they are large, less off for more. */
const ONE_TABLE: Tables = {
  [constants.ZSTD_c_strategy]: constants.ZSTD_fast,
  [constants.ZSTD_c_hashLog]: 16,
  [constants.ZSTD_c_minMatch]: 5,
  [constants.ZSTD_c_targetLength]: 0,
};

/** @param chunks how many there are in it */
export function compressFrame(bytes: Uint8Array, chunks: number, effort: Effort): Buffer {
  const isSmallFiles = bytes.length < chunks * SMALL_CHUNK;
  const tables = effort === "hard" ? {} : isSmallFiles ? ONE_TABLE : TWO_TABLES;
  return compress(bytes, LEVELS[effort], tables);
}

export function compress(bytes: Uint8Array, level: number, tables: Tables = {}): Buffer {
  const params = {
    [constants.ZSTD_c_compressionLevel]: level,
    [constants.ZSTD_c_checksumFlag]: 0,
    ...tables,
  };
  // With room for the worst case zstd writes its result once, in one piece; told the size, its tables are no larger
  // than they need to be.
  const chunkSize = bytes.length + (bytes.length >> 8) + 512;
  return zstdCompressSync(bytes, { params, pledgedSrcSize: bytes.length, chunkSize });
}

/** Inflates to exactly `length` bytes; a frame that would give more is stopped there. @throws SkeinError PACK_CORRUPT */
export function inflate(bytes: Uint8Array, length: number): Buffer {
  try {
    return sized(zstdDecompressSync(bytes, room(length)), length);
  } catch (err) {
    throw cannotInflate(err);
  }
}

/** The same on another core, while this one goes on; `bytes` must stay as they are meanwhile. */
export async function inflateAside(bytes: Uint8Array, length: number): Promise<Buffer> {
  try {
    return sized(await zstdDecompressLater(bytes, room(length)), length);
  } catch (err) {
    throw cannotInflate(err);
  }
}

const zstdDecompressLater = promisify(zstdDecompress);

/** A little more room than is needed: the result then comes in one piece and is not copied together. */
const room = (length: number) => ({ maxOutputLength: Math.max(1, length), chunkSize: length + 64 });

function sized(raw: Buffer, length: number): Buffer {
  if (raw.length !== length) throw damaged("a frame inflates to another length than its index says");
  return raw;
}

function cannotInflate(err: unknown): unknown {
  return isSkeinError(err) ? err : damaged(`a frame cannot be inflated (${messageOf(err)})`, err);
}

function encodeHead(frames: readonly PackedFrame[], lists: ReadonlyMap<Digest, readonly ChunkRef[]>): Buffer {
  const chunks = frames.flatMap((frame) => frame.chunks);
  let listBytes = 0;
  for (const list of lists.values()) listBytes += CHUNK_ENTRY * (list.length + 1);
  const raw = Buffer.alloc(COUNTS + frames.length * FRAME_ENTRY + chunks.length * CHUNK_ENTRY + listBytes);
  let at = raw.writeUInt32LE(chunks.length, 0);
  at = raw.writeUInt32LE(frames.length, at);
  at = raw.writeUInt32LE(lists.size, at);
  for (const frame of frames) {
    at = raw.writeUInt32LE(frame.length, at);
    at = raw.writeUInt32LE(sumOf(frame.chunks), at);
  }
  const entry = (id: string, number: number): void => {
    raw.write(id, at, "hex");
    at = raw.writeUInt32LE(number, at + 32);
  };
  for (const chunk of chunks) entry(chunk.id, chunk.length);
  for (const [file, list] of lists) {
    entry(file, list.length);
    for (const chunk of list) entry(chunk.id, chunk.length);
  }
  return raw;
}

const sumOf = (chunks: readonly ChunkRef[]): number => chunks.reduce((sum, c) => sum + c.length, 0);

/** A frame's chunks, in order. */
export function chunksOf({ entries }: FrameRef): ChunkRef[] {
  return readChunks(entries, 0, entries.length / CHUNK_ENTRY);
}

function readChunks(raw: Buffer, start: number, count: number): ChunkRef[] {
  const chunks: ChunkRef[] = [];
  for (let at = start; chunks.length < count; at += CHUNK_ENTRY) {
    const length = chunkLength(raw, at);
    chunks.push({ id: raw.toString("hex", at, at + 32) as ChunkId, length });
  }
  return chunks;
}

/** Chunks fill the frames in order: each frame has as many as add up to its inflated length. */
function readFrames(raw: Buffer, count: number, chunksAt: number, end: number): FrameRef[] {
  const frames: FrameRef[] = [];
  let next = chunksAt;
  let start = end;
  for (let at = COUNTS; frames.length < count; at += FRAME_ENTRY) {
    const length = u32(raw, at);
    const wanted = u32(raw, at + 4);
    const first = next;
    let filled = 0;
    for (; filled < wanted && next < raw.length; next += CHUNK_ENTRY) filled += chunkLength(raw, next);
    if (filled !== wanted || wanted > FRAME_BYTES || length > 2 * FRAME_BYTES) {
      throw damaged("chunks and frames do not fit together");
    }
    frames.push({ start, length, raw: wanted, entries: raw.subarray(first, next) });
    start += length;
  }
  if (next !== raw.length) throw damaged("it lists chunks that no frame holds");
  return frames;
}

function chunkLength(raw: Buffer, at: number): number {
  const length = u32(raw, at + 32);
  if (length === 0 || length > MAX_CHUNK) throw damaged("a chunk's length is out of bounds");
  return length;
}

function readLists(raw: Buffer, start: number, count: number): Map<Digest, ChunkRef[]> {
  const lists = new Map<Digest, ChunkRef[]>();
  let at = start;
  for (let n = 0; n < count; n++) {
    const length = u32(raw, at + 32);
    const end = at + CHUNK_ENTRY * (length + 1);
    if (end > raw.length) throw damaged("a chunk list is cut");
    lists.set(raw.toString("hex", at, at + 32) as Digest, readChunks(raw, at + CHUNK_ENTRY, length));
    at = end;
  }
  if (at !== raw.length) throw damaged("its head has bytes too many");
  return lists;
}

function u32(raw: Buffer, at: number): number {
  if (at + 4 > raw.length) throw damaged("its head is too short");
  return raw.readUInt32LE(at);
}

function damaged(what: string, cause?: unknown): SkeinError {
  return new SkeinError("PACK_CORRUPT", `a pack cannot be read: ${what}`, { cause });
}
