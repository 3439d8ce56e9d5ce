import { createHash } from "node:crypto";
import fs from "node:fs";
import type { ChunkId, Digest } from "../../lib/text/ids.ts";
import { CUTTER } from "../tree/gear.ts";
import type { ChunkRef } from "../tree/pack.ts";
import { comparePaths } from "../tree/tree-path.ts";
import { NO_LIST, type CutFile } from "./content-reader.ts";

/**
 * What was known of a tree's files: a head, then a line for each file in the tree's order, and the digest of all that.
 * A line is `PATH NUL STAMP NUL DIGEST`, and ` ID LENGTH` for each chunk where the file has several. It is written and
 * read a window at a time: for a large tree all of it takes several times as much memory, as one text or by path.
 */
const HEAD = `skein-stat-3 ${CUTTER}\n`;
const DIGEST_LENGTH = 64;
const WINDOW_BYTES = 256 * 1024;
const NEWLINE = 10;

export interface Remembered {
  readonly path: string;
  readonly stamp: string;
  readonly cut: CutFile;
}

/** The bytes of such a file, a window after the other. */
export function* encodeStatFile(files: Iterable<Remembered>): Generator<Buffer, void> {
  const sum = createHash("sha256");
  let text = HEAD;
  const window = (): Buffer => {
    const bytes = Buffer.from(text);
    sum.update(bytes);
    text = "";
    return bytes;
  };
  for (const { path, stamp, cut } of files) {
    text += `${path}\0${stamp}\0${cut.sha256}`;
    for (const { id, length } of cut.list) text += ` ${id} ${length}`;
    text += "\n";
    if (text.length >= WINDOW_BYTES) yield window();
  }
  yield window();
  yield Buffer.from(sum.digest("hex"));
}

/** Goes through such a file's lines. What it tells holds when it came to the end and `isWhole`. */
export class StatFileReader implements Disposable {
  readonly #fd: number;
  readonly #sum = createHash("sha256");
  #buffer = Buffer.allocUnsafeSlow(2 * WINDOW_BYTES);
  /** Of the buffer: where the line begins, where it ends, and how far there are bytes. */
  #start = 0;
  #end = -1;
  #filled = 0;
  #line = "";
  #zero = 0;
  #lines = 0;
  #isAtEnd = false;
  #isWhole = false;

  /** @throws Error when it cannot be opened */
  constructor(file: string) {
    this.#fd = fs.openSync(file, "r");
  }

  [Symbol.dispose](): void {
    fs.closeSync(this.#fd);
  }

  /** Goes to the first line. @returns false when this is a file of another kind */
  begin(): boolean {
    this.next();
    if (this.#isAtEnd || `${this.#line}\n` !== HEAD) return false;
    this.next();
    return true;
  }

  /** Goes to the next line. @throws Error when it cannot be read */
  next(): void {
    this.#start = this.#end + 1;
    this.#end = this.#newline(this.#start);
    while (this.#end === -1) {
      const searched = this.#filled - this.#start;
      if (!this.#fill()) return this.#finish();
      this.#end = this.#newline(this.#start + searched);
    }
    this.#line = this.#buffer.toString("utf8", this.#start, this.#end);
    this.#zero = this.#line.indexOf("\0");
    this.#lines += 1;
  }

  /** There is no line any more. */
  get isAtEnd(): boolean {
    return this.#isAtEnd;
  }

  /** Whether all of it was read, and is as it was written. */
  get isWhole(): boolean {
    return this.#isWhole;
  }

  /** Lines of files so far. */
  get files(): number {
    return this.#lines - 1;
  }

  isOf(path: string): boolean {
    return this.#zero === path.length && this.#line.startsWith(path);
  }

  isBefore(path: string): boolean {
    return comparePaths(this.#line.slice(0, this.#zero), path) < 0;
  }

  hasStamp(stamp: string): boolean {
    const from = this.#zero + 1;
    return this.#line.startsWith(stamp, from) && this.#line.charAt(from + stamp.length) === "\0";
  }

  get cut(): CutFile {
    const length = this.#line.length - this.#line.lastIndexOf("\0") - 1;
    // Of the buffer and not of the line: a part of that would keep all of it.
    const text = this.#buffer.toString("latin1", this.#end - length, this.#end);
    if (length === DIGEST_LENGTH) return { sha256: text as Digest, list: NO_LIST };
    const [sha256 = "", ...chunks] = text.split(" ");
    return { sha256: sha256 as Digest, list: chunksOf(chunks) };
  }

  #newline(from: number): number {
    const at = this.#buffer.indexOf(NEWLINE, from);
    return at < this.#filled ? at : -1;
  }

  /** Reads on, behind the line that has begun. @returns false at the end of the file */
  #fill(): boolean {
    this.#sum.update(this.#buffer.subarray(0, this.#start));
    const kept = this.#filled - this.#start;
    const next = this.#buffer.length - kept < WINDOW_BYTES ? Buffer.allocUnsafeSlow(4 * kept) : this.#buffer;
    this.#buffer.copy(next, 0, this.#start, this.#filled);
    this.#buffer = next;
    this.#start = 0;
    const read = fs.readSync(this.#fd, next, kept, next.length - kept, null);
    this.#filled = kept + read;
    return read > 0;
  }

  /** What is left has no newline: the digest. */
  #finish(): void {
    const told = this.#buffer.toString("latin1", this.#start, this.#filled);
    this.#isAtEnd = true;
    this.#isWhole = told === this.#sum.digest("hex");
  }
}

function chunksOf(words: readonly string[]): ChunkRef[] {
  const chunks: ChunkRef[] = [];
  for (let i = 0; i < words.length; i += 2) {
    chunks.push({ id: words[i] as ChunkId, length: Number(words[i + 1]) });
  }
  return chunks;
}
