/**
 * A cache before a depot: what is held here is read here, the rest comes from far and is kept on its way. Where there
 * are peers, what is lacking comes from them piece by piece, several on their way at a time; else in one stream.
 */
import { isSkeinError, type SkeinError } from "../../lib/errors/errors.ts";
import { freeNow } from "../../lib/memory/free.ts";
import { keepNewest } from "../../lib/memory/keep-newest.ts";
import { checkBlobName } from "../seam/blob-name.ts";
import type { ByteRange, DepotKind, DepotReader } from "../seam/depot.ts";
import { PIECE_BYTES } from "./piece-file.ts";
import { readBy } from "../seam/read-by.ts";
import type { BlobCache } from "./blob-cache.ts";

export interface PieceRange {
  readonly name: string;
  /** In the blob, in bytes; both in one piece. */
  readonly start: number;
  readonly end: number;
}

/** Bytes of one piece, at least one unless the blob ends before them. */
export interface Piece {
  /** Shared with others who asked for it: not to be written to. */
  readonly bytes: Uint8Array;
  /** The blob ends after them. */
  readonly ends: boolean;
  readonly kind: DepotKind;
}

export interface Looked {
  /** Of the blob, in bytes. */
  readonly size: number;
  /** All of it, from afar, where it is so small that asking for it anew would cost more. */
  readonly bytes?: Uint8Array;
}

/** Gives single pieces: peers, and the far depot where they cannot. */
export interface PieceSource {
  /** Whether a read of so many bytes is worth asking for in pieces; Infinity: nobody knows how many. */
  worthAsking(bytes: number, signal: AbortSignal): Promise<boolean>;
  /** What is known of a blob before it is read; undefined where nobody says, or nobody else may have it. */
  look(name: string, signal: AbortSignal): Promise<Looked | undefined>;
  /** @throws SkeinError BLOB_MISSING, HUB_UNREACHABLE */
  piece(want: PieceRange, signal: AbortSignal): Promise<Piece>;
  /**
   * Where what is held of a piece came from, if it came for somebody else and was counted by nobody here; said once.
   * @param at an offset in the blob
   */
  cameFrom(name: string, at: number): DepotKind | undefined;
  /** The bytes of this range that were given out are damaged. */
  blame(name: string, start: number, end: number): void;
}

export interface CachedOptions {
  /** One that does not fail (`forgiving`). */
  readonly near: BlobCache;
  readonly far: DepotReader;
  /** Default: nobody; everything comes from `far`. */
  readonly pieces?: PieceSource | undefined;
  /**
   * Who reads from far does not wait for what goes into the cache, but for whatever more than this many pieces are on
   * their way there; so many times 512 KiB of memory for each reader. Only with one that does not fail. Default 0.
   */
  readonly behind?: number;
}

/** A depot that is made of others, and tells by itself what each of its bytes came from. */
export interface CachedDepot extends DepotReader {
  counted(count: Count): DepotReader;
  /**
   * The same bytes once more, from far. To be tried after it: whoever asks found damage in what it gave, which is
   * forgotten here, and whose giver is put aside.
   */
  readonly mending: DepotReader;
}

type Count = (kind: DepotKind, bytes: number) => void;

/** Indexes of releases are remade under their name, and small: a depot's own is asked for each time. */
const isRemade = (name: string): boolean => name.startsWith("index/");

/** Of these it is worth a look how long they are, where there are peers. */
const isLarge = (name: string): boolean => name.startsWith("deltas/") || name.startsWith("packs/");

/** Pieces on their way at a time; so many times 256 KiB of memory for each reader. */
const WINDOW = 6;

export function cached(options: CachedOptions): CachedDepot {
  const { far } = options;
  const failed: Failed = new Map();
  const reader = (count: Count): DepotReader =>
    readBy(far, (name, signal, range) => new Reading(options, name, signal, count, failed).run(range));
  return Object.assign(
    reader(() => undefined),
    { counted: reader, mending: mending(options, failed) },
  );
}

/**
 * Blobs whose last reading failed here: who then reads it again blames nobody. With it what there was to say, where far
 * itself said that it has no such blob: that need not be asked again.
 */
type Failed = Map<string, SkeinError | undefined>;
const FAILED_KEPT = 1000;

function mending(options: CachedOptions, failed: Failed): DepotReader {
  const { near, far, pieces } = options;
  return readBy(far, async function* (name, signal, range) {
    const { start = 0, end = Infinity } = range ?? {};
    const lack = failed.get(name);
    if (!failed.delete(name)) {
      pieces?.blame(name, start, end);
      await near.drop(name, start, end);
    } else if (lack !== undefined) throw lack;
    const reading = new Reading(options, name, signal, () => undefined, failed);
    yield* reading.stream(start, end);
  });
}

/** One reader on its way through one blob. */
class Reading {
  readonly #options: CachedOptions;
  readonly #name: string;
  readonly #signal: AbortSignal;
  readonly #count: Count;
  readonly #failed: Failed;

  constructor(options: CachedOptions, name: string, signal: AbortSignal, count: Count, failed: Failed) {
    checkBlobName(name);
    this.#options = options;
    this.#name = name;
    this.#signal = signal;
    this.#count = count;
    this.#failed = failed;
  }

  async *run(range: ByteRange | undefined): AsyncGenerator<Uint8Array, void> {
    this.#failed.delete(this.#name);
    try {
      yield* this.#bytes(range?.start ?? 0, range?.end);
    } catch (err) {
      const lack = isSkeinError(err, "BLOB_MISSING") ? err : undefined;
      keepNewest(this.#failed, FAILED_KEPT, this.#name, lack);
      throw err;
    }
  }

  async *#bytes(start: number, upTo: number | undefined): AsyncGenerator<Uint8Array, void> {
    const looked = upTo === undefined ? await this.#look() : undefined;
    const end = upTo ?? looked?.size ?? Infinity;
    if (looked?.bytes !== undefined) yield* this.#whole(looked.bytes, start);
    else if (isRemade(this.#name)) yield* this.#freshFirst(start, end);
    else yield* this.#nearFirst(start, end);
  }

  async *#nearFirst(start: number, end: number): AsyncGenerator<Uint8Array, void> {
    const { near, pieces } = this.#options;
    for (let at = start; at < end;) {
      this.#signal.throwIfAborted();
      const held = await near.read(this.#name, at, end);
      if (held === undefined) {
        const came = yield* this.#fromAfar(at, await near.gapEnd(this.#name, at, end));
        at += came.bytes;
        if (came.ends) return;
      } else {
        this.#count(pieces?.cameFrom(this.#name, at) ?? "cache", held.bytes.length);
        at += held.bytes.length;
        yield held.bytes;
        if (held.ends) return;
      }
    }
  }

  async #look(): Promise<Looked | undefined> {
    return isLarge(this.#name) ? await this.#options.pieces?.look(this.#name, this.#signal) : undefined;
  }

  /** What came at once. */
  async *#whole(bytes: Uint8Array, start: number): AsyncGenerator<Uint8Array, void> {
    const { near, far, behind } = this.#options;
    const keeping = new Keeping(near, this.#name, 0, behind);
    await keeping.take(bytes);
    await keeping.finish(true);
    const wanted = bytes.subarray(start);
    this.#count(far.kind, wanted.length);
    if (wanted.length > 0) yield wanted;
  }

  /** The newest from far; what is held only while far cannot be reached. */
  async *#freshFirst(start: number, end: number): AsyncGenerator<Uint8Array, void> {
    try {
      yield* this.stream(start, end);
    } catch (err) {
      const held = isSkeinError(err, "BLOB_MISSING")
        ? undefined
        : await this.#options.near.read(this.#name, start, end);
      if (held?.ends !== true) throw err;
      this.#count("cache", held.bytes.length);
      yield held.bytes;
    }
  }

  /** Where far does not answer, somebody else may have it. */
  async *#fromAfar(start: number, end: number): AsyncGenerator<Uint8Array, Came> {
    const { pieces } = this.#options;
    if (pieces === undefined) return yield* this.stream(start, end);
    if (await pieces.worthAsking(end - start, this.#signal)) return yield* this.#inPieces(pieces, start, end);
    let bytes = 0;
    const stream = this.stream(start, end);
    try {
      let next = await stream.next();
      for (; next.done !== true; next = await stream.next()) {
        bytes += next.value.length;
        yield next.value;
      }
      return next.value;
    } catch (err) {
      this.#signal.throwIfAborted();
      if (isSkeinError(err, "BLOB_MISSING")) throw err;
      const rest = yield* this.#inPieces(pieces, start + bytes, end);
      return { bytes: bytes + rest.bytes, ends: rest.ends };
    } finally {
      await stream.return(NOTHING);
    }
  }

  /** In order, several on their way at a time. */
  async *#inPieces(source: PieceSource, start: number, end: number): AsyncGenerator<Uint8Array, Came> {
    const stop = new AbortController();
    const signal = AbortSignal.any([this.#signal, stop.signal]);
    const coming: { at: number; want: number; piece: Promise<Piece> }[] = [];
    let next = start;
    let bytes = 0;
    try {
      for (;;) {
        // Where nobody knows how long the blob is, no more is asked for than what comes next.
        while (next < end && coming.length < (end === Infinity ? 1 : WINDOW)) {
          const upTo = Math.min(end, nextPiece(next));
          const piece = source.piece({ name: this.#name, start: next, end: upTo }, signal);
          // Looked at in its turn; until then its failure is nobody's surprise.
          piece.catch(() => undefined);
          coming.push({ at: next, want: upTo - next, piece });
          next = upTo;
        }
        const first = coming.shift();
        if (first === undefined) return { bytes, ends: false };
        const { bytes: came, ends, kind } = await first.piece;
        bytes += came.length;
        this.#count(kind, came.length);
        if (came.length > 0) yield Buffer.from(came);
        if (ends || came.length < first.want) return { bytes, ends: true };
      }
    } finally {
      stop.abort(new Error("nobody reads on"));
    }
  }

  /** In one stream from far, kept on its way. */
  async *stream(start: number, end: number): AsyncGenerator<Uint8Array, Came> {
    const { far } = this.#options;
    const keeping = new Keeping(this.#options.near, this.#name, start, this.#options.behind);
    const range = end === Infinity ? { start } : { start, end };
    let bytes = 0;
    try {
      for await (const piece of far.get(
        this.#name,
        this.#signal,
        start === 0 && end === Infinity ? undefined : range,
      )) {
        bytes += piece.length;
        await keeping.take(piece);
        this.#count(far.kind, piece.length);
        yield piece;
      }
      const ends = start + bytes < end;
      await keeping.finish(ends);
      return { bytes, ends };
    } finally {
      await keeping.finish(false);
    }
  }
}

interface Came {
  readonly bytes: number;
  readonly ends: boolean;
}

const NOTHING: Came = { bytes: 0, ends: false };

/** Gathers a stream into pieces and keeps each. */
export class Keeping {
  readonly #near: BlobCache;
  readonly #name: string;
  readonly #behind: number;
  /** The oldest first. */
  readonly #writing: Promise<void>[] = [];
  #start: number;
  #buffer: Buffer | undefined;
  #filled = 0;

  /** @param behind writes that nobody waits for; then `near` is one that does not fail (`forgiving`) */
  constructor(near: BlobCache, name: string, start: number, behind = 0) {
    this.#near = near;
    this.#name = name;
    this.#start = start;
    this.#behind = behind;
  }

  async take(bytes: Uint8Array): Promise<void> {
    for (let rest = bytes; rest.length > 0;) {
      this.#buffer ??= Buffer.allocUnsafeSlow(PIECE_BYTES);
      const room = nextPiece(this.#start) - this.#start - this.#filled;
      const part = rest.subarray(0, room);
      this.#buffer.set(part, this.#filled);
      this.#filled += part.length;
      rest = rest.subarray(part.length);
      if (part.length === room) await this.finish(false);
    }
  }

  /** Keeps what was gathered. */
  async finish(ends: boolean): Promise<void> {
    const buffer = this.#buffer;
    if (buffer === undefined || this.#filled === 0) return;
    const bytes = buffer.subarray(0, this.#filled);
    const start = this.#start;
    this.#start += this.#filled;
    this.#filled = 0;
    this.#buffer = undefined;
    const written = this.#near.write(this.#name, start, bytes, ends);
    this.#writing.push(written.finally(() => freeNow(buffer)));
    while (this.#writing.length > this.#behind) await this.#writing.shift();
  }
}

const nextPiece = (at: number): number => (Math.floor(at / PIECE_BYTES) + 1) * PIECE_BYTES;
