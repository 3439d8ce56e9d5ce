import { createHash } from "node:crypto";
import fs from "node:fs";
import { StringDecoder } from "node:string_decoder";
import type { ChunkId, Digest, ReleaseId, TreeId } from "../../lib/text/ids.ts";
import type { ChunkRef } from "../tree/pack.ts";
import { encodeRow, rereadRows, RowCursor, type Row } from "../tree/rows.ts";
import { decodeSince, encodeSince } from "../tree/since.ts";

/**
 * The file of one install's record, written and read piece by piece: a node never holds one whole, however many files
 * a release has. In order: a line with the header's length, the header, the rows as the tree has them, an inode per
 * file row, a line per chunk list, and the SHA-256 of all that.
 */
const MAGIC = "skein-install-2";
const PIECE_BYTES = 256 * 1024;
const INODE_BYTES = 8;
/** 64 hex digits and a newline. */
const SEAL_BYTES = 65;

/** A segment of the tree's rows. */
export interface RecordSegment {
  readonly id: Digest;
  /** Of its rows as they are written, in bytes. */
  readonly length: number;
  /** How many of its rows are files. */
  readonly files: number;
}

/** The chunks of a file that has more than one. */
export interface RecordList {
  /** Where in the tree such a file is. */
  readonly path: string;
  readonly sha256: Digest;
  readonly chunks: readonly ChunkRef[];
}

interface RecordHeader {
  readonly release: ReleaseId;
  readonly tree: TreeId;
  readonly segments: readonly RecordSegment[];
  /** Path in the tree → what the link laid there points at. */
  readonly writable: ReadonlyMap<string, string>;
}

export interface RecordContent extends RecordHeader {
  readonly rows: Iterable<Row>;
  /** Per file row, in order: its mtime in ms since the epoch. */
  readonly times: readonly number[];
  /** Per file row, in order: its inode; 0 where nothing was put down. */
  readonly inodes: Float64Array;
  readonly lists: Iterable<RecordList>;
}

export function* encodeRecord(content: RecordContent): Generator<Buffer> {
  const sum = createHash("sha256");
  for (const piece of gathered(textsOf(content))) {
    sum.update(piece);
    yield piece;
  }
  yield Buffer.from(`${sum.digest("hex")}\n`);
}

function* textsOf(content: RecordContent): Generator<string | Buffer> {
  const { release, tree, segments, writable, inodes } = content;
  const header = JSON.stringify({
    release,
    tree,
    segments: segments.map(({ id, length, files }) => [id, length, files]),
    times: encodeSince(content.times).toString("latin1"),
    files: inodes.length,
    writable: [...writable],
  });
  yield `${MAGIC} ${Buffer.byteLength(header)}\n`;
  yield header;
  for (const row of content.rows) yield encodeRow(row);
  yield Buffer.from(inodes.buffer, inodes.byteOffset, inodes.byteLength);
  for (const { path, sha256, chunks } of content.lists) {
    yield `${JSON.stringify([path, sha256, ...chunks.flatMap(({ id, length }) => [id, length])])}\n`;
  }
}

/** Small texts are put together: a piece for each row would cost a call and an allocation each. */
function* gathered(texts: Iterable<string | Buffer>): Generator<Buffer> {
  let text = "";
  for (const next of texts) {
    if (typeof next === "string") text += next;
    if (text.length < PIECE_BYTES && typeof next === "string") continue;
    yield Buffer.from(text);
    text = "";
    if (typeof next !== "string") yield next;
  }
  yield Buffer.from(text);
}

interface Stored {
  readonly release: ReleaseId;
  readonly tree: TreeId;
  readonly segments: readonly (readonly [Digest, number, number])[];
  readonly times: string;
  readonly files: number;
  readonly writable: readonly (readonly [string, string])[];
}

/** An open record. What it gives was proved whole when it was opened. */
export class RecordFile implements RecordHeader, Disposable {
  readonly #fd: number;
  readonly #stored: Stored;
  readonly #end: number;
  readonly segments: readonly RecordSegment[];
  /** Where each segment begins in the file. */
  readonly #starts: readonly number[];
  readonly #numbers: ReadonlyMap<Digest, number>;
  readonly #inodesAt: number;

  private constructor(fd: number, stored: Stored, rowsAt: number, end: number) {
    this.#fd = fd;
    this.#stored = stored;
    this.#end = end;
    this.segments = stored.segments.map(([id, length, files]) => ({ id, length, files }));
    this.#numbers = new Map(this.segments.map(({ id }, n) => [id, n]));
    let at = rowsAt;
    this.#starts = this.segments.map(({ length }) => (at += length) - length);
    this.#inodesAt = at;
  }

  /** Undefined when there is none, or it is not whole: then nothing is taken from that install. */
  static open(file: string): RecordFile | undefined {
    let fd: number | undefined;
    try {
      fd = fs.openSync(file, "r");
      const end = fs.fstatSync(fd).size - SEAL_BYTES;
      const first = read(fd, 0, Math.min(end, 64)).toString("latin1");
      const match = /^skein-install-2 (\d{1,9})\n/.exec(first);
      if (match !== null && sealOf(fd, end) === read(fd, end, 64).toString("latin1")) {
        const start = match[0].length;
        const rowsAt = start + Number(match[1]);
        const stored = JSON.parse(read(fd, start, rowsAt - start).toString()) as Stored;
        return new RecordFile(fd, stored, rowsAt, end);
      }
    } catch {
      // As if there were none.
    }
    if (fd !== undefined) fs.closeSync(fd);
    return undefined;
  }

  [Symbol.dispose](): void {
    fs.closeSync(this.#fd);
  }

  get release(): ReleaseId {
    return this.#stored.release;
  }

  get tree(): TreeId {
    return this.#stored.tree;
  }

  /** File rows of the tree. */
  get files(): number {
    return this.#stored.files;
  }

  get writable(): ReadonlyMap<string, string> {
    return new Map(this.#stored.writable);
  }

  /** The bytes of a row segment, if this tree has it. */
  segment(id: Digest): Buffer | undefined {
    const n = this.#numbers.get(id);
    return n === undefined ? undefined : this.#bytesOf(n);
  }

  /** The rows of a segment, by its place. */
  rowsOf(n: number): Row[] {
    return rereadRows(this.#bytesOf(n));
  }

  /** All of them, a segment at a time. */
  *rows(): Generator<Row> {
    for (const n of this.segments.keys()) yield* this.rowsOf(n);
  }

  /** The same, to be looked at one by one. */
  cursorOf(n: number): RowCursor {
    return new RowCursor(this.#bytesOf(n));
  }

  /** Per file row, in order: its inode; 0 where nothing was put down. */
  inodes(): Float64Array {
    const bytes = read(this.#fd, this.#inodesAt, this.#stored.files * INODE_BYTES);
    return new Float64Array(bytes.buffer, bytes.byteOffset, this.#stored.files);
  }

  /** Per file row, in order: its mtime in ms since the epoch. */
  times(): number[] {
    return decodeSince(Buffer.from(this.#stored.times), this.#stored.files);
  }

  *lists(): Generator<RecordList> {
    for (const line of this.#lines(this.#inodesAt + this.#stored.files * INODE_BYTES)) {
      const [path, sha256, ...list] = JSON.parse(line) as [string, Digest, ...(string | number)[]];
      const chunks: ChunkRef[] = [];
      for (let i = 0; i < list.length; i += 2) {
        chunks.push({ id: list[i] as ChunkId, length: Number(list[i + 1]) });
      }
      yield { path, sha256, chunks };
    }
  }

  #bytesOf(n: number): Buffer {
    return read(this.#fd, this.#starts[n] ?? 0, this.segments[n]?.length ?? 0);
  }

  *#lines(start: number): Generator<string> {
    const decoder = new StringDecoder("utf8");
    let rest = "";
    for (let at = start; at < this.#end; at += PIECE_BYTES) {
      const lines = (rest + decoder.write(read(this.#fd, at, Math.min(PIECE_BYTES, this.#end - at)))).split(
        "\n",
      );
      rest = lines.pop() ?? "";
      yield* lines;
    }
  }
}

/** The seal of an open record, as its content says. */
function sealOf(fd: number, end: number): string {
  const sum = createHash("sha256");
  const buffer = Buffer.allocUnsafe(PIECE_BYTES);
  for (let at = 0; at < end;) {
    const length = fs.readSync(fd, buffer, 0, Math.min(PIECE_BYTES, end - at), at);
    if (length === 0) break;
    sum.update(buffer.subarray(0, length));
    at += length;
  }
  return sum.digest("hex");
}

/** Into memory of its own, so that numbers may be read where they lie. */
function read(fd: number, at: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(length);
  for (let done = 0; done < length;) {
    const got = fs.readSync(fd, bytes, done, length - done, at + done);
    if (got === 0) throw new RangeError("the record is shorter than it says");
    done += got;
  }
  return bytes;
}
