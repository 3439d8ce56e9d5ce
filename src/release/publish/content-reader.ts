import { createHash, hash } from "node:crypto";
import fs from "node:fs";
import type { ChunkId, Digest } from "../../lib/text/ids.ts";
import { errnoOf, SkeinError } from "../../lib/errors/errors.ts";
import { asSkeinError } from "../../lib/disk/files.ts";
import { cutAt, MAX_CHUNK, MIN_CHUNK } from "../tree/gear.ts";
import { MOST_CHUNKS, type ChunkRef } from "../tree/pack.ts";
import type { SourceFile } from "../tree/tree-source.ts";

/** What a file is made of. */
export interface CutFile {
  readonly sha256: Digest;
  /** Its chunks when there are more than one. One chunk: its id is the file's digest. An empty file has none. */
  readonly list: readonly ChunkRef[];
}

export const NO_LIST: readonly ChunkRef[] = [];

/** Takes a chunk's bytes, which lie in a buffer that is used again afterwards. */
export type ChunkSink = (chunk: ChunkRef, bytes: Buffer) => void;

/** A window; also what a sink may be given before `between` lets it empty itself. */
export const BUFFER_BYTES = 2 * 1024 * 1024;
const OPEN_FLAGS = fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW;

export const EMPTY_SHA256 = hash("sha256", "", "hex") as Digest;
const EMPTY: CutFile = { sha256: EMPTY_SHA256, list: NO_LIST };

/** Where the bytes that a sink takes are wanted in the end. */
export interface Room {
  readonly buffer: Buffer;
  /** Where in it so many bytes may be read to; undefined where they do not fit. */
  at(bytes: number): number | undefined;
}

/** Reads files through one buffer, cuts and hashes them: fresh buffers for 36,000 files cost five times as much. */
export class ContentReader {
  readonly #buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  readonly #room: Room | undefined;

  /** `room`: small files are read to there, and need not be copied by the sink. */
  constructor(room?: Room) {
    this.#room = room;
  }

  /**
   * Cuts a small file at once, without a promise, or a large one window by window; `between` runs after each window,
   * so that a sink that fills up can be emptied.
   * @throws SkeinError TREE_REFUSED when the file changes while it is read
   */
  cut(file: SourceFile, sink: ChunkSink, between: () => Promise<void>): CutFile | Promise<CutFile> {
    if (file.size === 0) return EMPTY;
    if (file.size >= BUFFER_BYTES) return this.#cutLarge(file, sink, between);
    const { fd, close } = open(file);
    try {
      return this.#cutSmall(file, fd, sink);
    } finally {
      if (close) fs.closeSync(fd);
    }
  }

  #cutSmall(file: SourceFile, fd: number, sink: ChunkSink): CutFile {
    // One byte more than there should be shows in the same read whether the file has grown.
    const { file: where, offset } = file.content;
    const { size } = file;
    const more = typeof where === "string" ? 1 : 0;
    const { buffer, start } = this.#placeFor(size + more);
    if (fill(fd, buffer, start, size, offset, more) !== size) throw changed(file);
    const bytes = buffer.subarray(start, start + size);
    if (size <= MIN_CHUNK) {
      const sha256 = hash("sha256", bytes, "hex") as Digest;
      sink({ id: sha256 as string as ChunkId, length: size }, bytes);
      return { sha256, list: NO_LIST };
    }
    return this.#cutChunks(bytes, sink);
  }

  #placeFor(bytes: number): { readonly buffer: Buffer; readonly start: number } {
    const start = this.#room?.at(bytes);
    if (this.#room === undefined || start === undefined) return { buffer: this.#buffer, start: 0 };
    return { buffer: this.#room.buffer, start };
  }

  #cutChunks(bytes: Buffer, sink: ChunkSink): CutFile {
    const chunks: ChunkRef[] = [];
    this.#cutWindow(bytes, bytes.length, true, (chunk) => chunks.push(chunk));
    const [only, second] = chunks;
    const isOne = only !== undefined && second === undefined;
    // Before the sink takes them: it may move what comes after a chunk that it has.
    const sha256 = isOne ? (only.id as string as Digest) : (hash("sha256", bytes, "hex") as Digest);
    let from = 0;
    for (const chunk of chunks) sink(chunk, bytes.subarray(from, (from += chunk.length)));
    return { sha256, list: isOne ? NO_LIST : chunks };
  }

  async #cutLarge(file: SourceFile, sink: ChunkSink, between: () => Promise<void>): Promise<CutFile> {
    if (file.size > MOST_CHUNKS * MAX_CHUNK) throw tooLarge(file);
    const { fd, close } = open(file);
    try {
      return await this.#cutWindows(file, fd, sink, between);
    } finally {
      if (close) fs.closeSync(fd);
    }
  }

  async #cutWindows(
    file: SourceFile,
    fd: number,
    sink: ChunkSink,
    between: () => Promise<void>,
  ): Promise<CutFile> {
    const sum = createHash("sha256");
    const chunks: ChunkRef[] = [];
    let kept = 0;
    for (let at = 0; at < file.size;) {
      const length = Math.min(BUFFER_BYTES - kept, file.size - at);
      if (fill(fd, this.#buffer, kept, length, file.content.offset + at) !== length) throw changed(file);
      at += length;
      const end = kept + length;
      const cut = this.#cutWindow(this.#buffer, end, at === file.size, (chunk, bytes) => {
        chunks.push(chunk);
        sink(chunk, bytes);
      });
      sum.update(this.#buffer.subarray(0, cut));
      this.#buffer.copyWithin(0, cut, end);
      kept = end - cut;
      if (chunks.length > MOST_CHUNKS) throw tooLarge(file);
      await between();
    }
    if (isLonger(file, fd)) throw changed(file);
    return { sha256: sum.digest("hex") as Digest, list: chunks };
  }

  /** Cuts as far as the window decides it, and says how far that is. */
  #cutWindow(bytes: Buffer, end: number, isLast: boolean, sink: ChunkSink): number {
    const decided = isLast ? end : end - MAX_CHUNK + 1;
    let start = 0;
    while (start < decided) {
      const stop = cutAt(bytes, start, end);
      const piece = bytes.subarray(start, stop);
      sink({ id: hash("sha256", piece, "hex") as ChunkId, length: stop - start }, piece);
      start = stop;
    }
    return start;
  }
}

function open(file: SourceFile): { fd: number; close: boolean } {
  const { file: where } = file.content;
  if (typeof where === "number") return { fd: where, close: false };
  try {
    return { fd: fs.openSync(where, OPEN_FLAGS), close: true };
  } catch (err) {
    // It went away since it was listed, or a link took its place.
    if (["ENOENT", "ENOTDIR", "ELOOP"].includes(errnoOf(err) ?? "")) throw changed(file);
    throw asSkeinError(err, where);
  }
}

/** Reads until `length` bytes, and perhaps some `more`, are at `start` or the file ends; the number read. */
function fill(fd: number, buffer: Buffer, start: number, length: number, position: number, more = 0): number {
  let done = 0;
  while (done < length) {
    const read = fs.readSync(fd, buffer, start + done, length + more - done, position + done);
    if (read === 0) break;
    done += read;
  }
  return done;
}

const probe = Buffer.alloc(1);

/** Whether a file of its own goes on after the size that was seen when it was listed. */
function isLonger(file: SourceFile, fd: number): boolean {
  return (
    typeof file.content.file === "string" && fs.readSync(fd, probe, 0, 1, file.content.offset + file.size) > 0
  );
}

const changed = (file: SourceFile): SkeinError =>
  refused(file, "it changed while it was read", "Run it again when nothing writes there.");

/** Nobody could read the list of its chunks. */
const tooLarge = (file: SourceFile): SkeinError =>
  refused(file, `it is cut into more than ${MOST_CHUNKS} chunks`, "Split it into files of up to 10 GiB.");

function refused({ path }: SourceFile, reason: string, hint: string): SkeinError {
  const message = `${JSON.stringify(path)} cannot be released: ${reason}`;
  return new SkeinError("TREE_REFUSED", message, { data: { path, reason }, hint });
}
