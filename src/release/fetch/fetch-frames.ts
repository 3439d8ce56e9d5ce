import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import type { Digest } from "../../lib/text/ids.ts";
import type { DepotReader } from "../../depot/seam/depot.ts";
import type { Fetcher } from "./fetcher.ts";
import { freeNow } from "../../lib/memory/free.ts";
import { chunksOf, openFrame, packName, type ChunkRef, type FrameRef } from "../tree/pack.ts";

/** Takes a chunk that was checked against its id; the bytes are only lent. */
export type ChunkTaker = (chunk: ChunkRef, bytes: Buffer) => void;

/**
 * Takes a compressed frame and all that is wanted of it, in place of its chunks, and checks them itself.
 * @returns undefined where it does not; then the bytes are still the caller's
 */
export type FrameTaker = (frame: FrameRef, bytes: Buffer) => Promise<void> | undefined;

export interface Takers {
  readonly take: ChunkTaker;
  readonly takeFrame: FrameTaker;
  /** Where somebody else has the other core, a frame that is opened here is inflated here. */
  readonly inflate: (bytes: Uint8Array, length: number) => Buffer | Promise<Buffer>;
}

/** Bytes between two wanted frames that are read along rather than asked for separately. */
const BRIDGE_BYTES = 256 * 1024;
/** Frames of one pack that are inflated while others are checked and put down: each holds 1 to 2 MiB. */
const INFLATING = 2;

/** Reads frames of one pack, neighbours in one request; what came whole is not asked for again. */
export async function fetchFrames(
  fetcher: Fetcher,
  pack: Digest,
  frames: readonly FrameRef[],
  takers: Takers,
): Promise<void> {
  const todo = [...frames];
  try {
    while (todo.length > 0) {
      await fetcher.try((depot) => readRun(fetcher, depot, pack, todo, takers));
    }
  } catch (err) {
    const [first] = frames;
    if (first === undefined || !isSkeinError(err, "BLOB_MISSING")) throw err;
    throw missingChunk(chunksOf(first)[0]?.id ?? pack, err);
  }
}

/** Reads the frames at the head of `todo` that lie close together, and removes each when it is done. */
async function readRun(
  fetcher: Fetcher,
  depot: DepotReader,
  pack: Digest,
  todo: FrameRef[],
  takers: Takers,
): Promise<void> {
  const run = runOf(todo);
  const last = run.at(-1);
  if (last === undefined) return;
  const opening = new Opening(todo, takers);
  try {
    const range = { start: run[0]?.start ?? 0, end: last.start + last.length };
    const arrived = new Arrivals(run);
    for await (const piece of depot.get(packName(pack), fetcher.signal, range)) {
      for (let rest = arrived.take(piece); ; rest = arrived.take(rest)) {
        const whole = arrived.whole();
        if (whole === undefined) break;
        await opening.add(whole.frame, whole.bytes);
      }
      freeNow(piece);
      if (arrived.isDone) break;
    }
  } finally {
    // What came whole before a cut is not asked for again.
    await opening.finish();
  }
  if (run.some((frame) => todo.includes(frame))) {
    throw new SkeinError("IO", `${depot.name} ended before the pack did`, {
      data: { pack, depot: depot.name },
    });
  }
}

/** Frames that are being opened. Each is crossed off the list when all that is wanted of it was taken. */
class Opening {
  readonly #todo: FrameRef[];
  readonly #takers: Takers;
  readonly #running = new Set<Promise<void>>();
  /** Those that are opened here. Chunks are handed on in order. */
  readonly #here: Promise<void>[] = [];

  constructor(todo: FrameRef[], takers: Takers) {
    this.#todo = todo;
    this.#takers = takers;
  }

  /** `bytes` are given away. Resolves when there is room for another. */
  async add(frame: FrameRef, bytes: Buffer): Promise<void> {
    const elsewhere = this.#takers.takeFrame(frame, bytes);
    const opened = elsewhere ?? this.#openHere(frame, bytes);
    const done = opened.then(() => {
      this.#todo.splice(this.#todo.indexOf(frame), 1);
      this.#running.delete(done);
    });
    // Its failure is told when it is waited for.
    done.catch(() => undefined);
    this.#running.add(done);
    if (elsewhere === undefined) this.#here.push(done);
    if (this.#here.length > INFLATING) await this.#here.shift();
  }

  async finish(): Promise<void> {
    await Promise.allSettled(this.#running);
    await Promise.all(this.#running);
  }

  async #inflated(frame: FrameRef, bytes: Buffer): Promise<Buffer> {
    try {
      return await this.#takers.inflate(bytes, frame.raw);
    } finally {
      freeNow(bytes);
    }
  }

  async #openHere(frame: FrameRef, bytes: Buffer): Promise<void> {
    const before = this.#here.at(-1);
    const [raw] = await Promise.all([this.#inflated(frame, bytes), before]);
    openFrame(frame, raw, this.#takers.take);
  }
}

/** Puts frames together from the pieces in which they arrive. */
class Arrivals {
  readonly #frames: readonly FrameRef[];
  #next = 0;
  #at: number;
  #buffer: Buffer | undefined;
  #filled = 0;

  constructor(frames: readonly FrameRef[]) {
    this.#frames = frames;
    this.#at = frames[0]?.start ?? 0;
  }

  get isDone(): boolean {
    return this.#next === this.#frames.length;
  }

  /** Takes what belongs to the frame that is being filled, skips what nobody wants, and gives back the rest. */
  take(piece: Uint8Array): Uint8Array {
    const frame = this.#frames[this.#next];
    if (frame === undefined) return piece.subarray(piece.length);
    const skipped = Math.min(Math.max(0, frame.start - this.#at), piece.length);
    const length = Math.min(piece.length - skipped, frame.length - this.#filled);
    this.#buffer ??= Buffer.allocUnsafeSlow(frame.length);
    this.#buffer.set(piece.subarray(skipped, skipped + length), this.#filled);
    this.#filled += length;
    this.#at += skipped + length;
    return piece.subarray(skipped + length);
  }

  /** The frame, once it is whole; the next one is filled from then on. */
  whole(): { readonly frame: FrameRef; readonly bytes: Buffer } | undefined {
    const frame = this.#frames[this.#next];
    const bytes = this.#buffer;
    if (frame === undefined || bytes === undefined || this.#filled < frame.length) return undefined;
    this.#next += 1;
    this.#filled = 0;
    this.#buffer = undefined;
    return { frame, bytes };
  }
}

/** The frames at the head that lie close together. */
function runOf(frames: readonly FrameRef[]): readonly FrameRef[] {
  let end = frames[0]?.start ?? 0;
  for (const [i, frame] of frames.entries()) {
    if (frame.start - end > BRIDGE_BYTES) return frames.slice(0, i);
    end = frame.start + frame.length;
  }
  return frames.slice();
}

export function missingChunk(id: string, cause?: unknown): SkeinError {
  return new SkeinError("CHUNK_MISSING", `no depot has chunk ${id}`, { data: { chunk: id }, cause });
}
