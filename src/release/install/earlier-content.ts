import path from "node:path";
import type { Digest } from "../../lib/text/ids.ts";
import type { ChunkRef } from "../tree/pack.ts";
import type { RecordFile } from "../record/record-file.ts";
import { MIN_CHUNK } from "../tree/gear.ts";
import { isFileRow, type FileRow, type Row } from "../tree/rows.ts";
import type { KnownTree } from "../fetch/tree-blobs.ts";

/** A file of an earlier install, as its record says that it is. */
export interface EarlierFile {
  readonly file: string;
  readonly inode: number;
  readonly time: number;
}

/** A file of an earlier install that is made of more than one chunk. */
interface EarlierChunks {
  readonly file: string;
  readonly chunks: readonly ChunkRef[];
}

/** A file of the tree that is looked for. */
interface WantedFile {
  readonly row: FileRow;
  /** Where it stands among the tree's files. */
  readonly index: number;
}

export interface EarlierOptions {
  readonly tree: KnownTree;
  /** Those that are looked for, in order. */
  readonly files: readonly WantedFile[];
  /** Others of the tree's files are there already. */
  readonly isPart: boolean;
  /** The latest first; they stay open as long as this is used. */
  readonly records: readonly RecordFile[];
  readonly revs: string;
}

const NONE = -1;

/** A link shares mode and times too, so a plain file is not the same as an executable one. */
export const contentKey = ({ kind, sha256 }: Pick<FileRow, "sha256"> & Pick<Row, "kind">): string =>
  kind === "f" ? sha256 : `x${sha256}`;

/**
 * Where earlier installs have what a tree needs. A file is found by its place in a segment of rows that both trees
 * have, for which nothing is read, else by its content. Kept as numbers: an object for each of many thousand files
 * would be most of the memory of an update.
 */
export class EarlierContent {
  readonly #tree: KnownTree;
  readonly #files: readonly WantedFile[];
  readonly #isPart: boolean;
  /** File row of the tree → where it stands among the wanted ones. */
  readonly #places: Int32Array;
  readonly #records: readonly RecordFile[];
  readonly #dirs: readonly string[];
  readonly #inodes: readonly Float64Array[];
  readonly #times: readonly (readonly number[])[];
  /** Per wanted file: which record has the content, and which of its files it is. */
  readonly #record: Int8Array;
  readonly #index: Int32Array;
  /** Path there, per wanted file whose content lies under another one. */
  readonly #moved = new Map<number, string>();
  /** Content → the first wanted file that has it. */
  readonly #heads = new Map<string, number>();
  /** Per wanted file: the first one of its content. */
  readonly #head: Int32Array;

  constructor({ tree, files, isPart, records, revs }: EarlierOptions) {
    this.#tree = tree;
    this.#files = records.length === 0 ? [] : files;
    this.#isPart = isPart;
    this.#places = new Int32Array(tree.segments.reduce((sum, one) => sum + one.files, 0)).fill(NONE);
    for (const [at, { index }] of this.#files.entries()) this.#places[index] = at;
    this.#records = records;
    this.#dirs = records.map(({ release }) => path.join(revs, release));
    this.#inodes = records.map((record) => record.inodes());
    this.#times = records.map((record) => record.times());
    this.#record = new Int8Array(this.#files.length).fill(NONE);
    this.#index = new Int32Array(this.#files.length);
    for (const n of records.keys()) this.#findSegments(n);
    this.#head = new Int32Array(this.#files.length);
    for (const [at, { row }] of this.#files.entries()) {
      const key = contentKey(row);
      const head = this.#heads.get(key);
      if (head === undefined) this.#heads.set(key, at);
      this.#head[at] = head ?? at;
    }
    this.#share();
    if (!this.#record.includes(NONE)) return;
    for (const n of records.keys()) this.#findContents(n);
    this.#share();
  }

  /** There is no earlier install. */
  get isEmpty(): boolean {
    return this.#records.length === 0;
  }

  /** Whether the very content of a file row is here. */
  has(index: number): boolean {
    return this.#isFound(this.#places[index] ?? NONE);
  }

  /** Where it is. */
  get(row: number): EarlierFile | undefined {
    const at = this.#places[row] ?? NONE;
    const record = this.#record[at] ?? NONE;
    if (record === NONE) return undefined;
    const index = this.#index[at] ?? 0;
    return {
      file: `${this.#dirs[record]}/${this.#pathOf(at)}`,
      inode: this.#inodes[record]?.[index] ?? 0,
      time: this.#times[record]?.[index] ?? 0,
    };
  }

  /** Files of many chunks, the latest release's first: a new version of one shares most of its chunks. */
  *chunked(): Generator<EarlierChunks> {
    for (const [n, record] of this.#records.entries()) {
      for (const list of record.lists()) yield { file: `${this.#dirs[n]}/${list.path}`, chunks: list.chunks };
    }
  }

  /** The chunk lists of contents that the tree has. */
  lists(): Map<Digest, readonly ChunkRef[]> {
    const lists = new Map<Digest, readonly ChunkRef[]>();
    if (this.#records.length === 0) return lists;
    const large = this.#tree.rows.filter((row) => isFileRow(row) && row.size > MIN_CHUNK) as FileRow[];
    const contents = new Set(large.map(({ sha256 }) => sha256));
    for (const record of this.#records) {
      for (const { sha256, chunks } of record.lists()) if (contents.has(sha256)) lists.set(sha256, chunks);
    }
    return lists;
  }

  #pathOf(at: number): string {
    return this.#moved.get(at) ?? this.#files[at]?.row.path ?? "";
  }

  #findSegments(n: number): void {
    const starts = new Map<Digest, number>();
    let start = 0;
    for (const { id, files } of this.#records[n]?.segments ?? []) {
      starts.set(id, start);
      start += files;
    }
    let at = 0;
    for (const { id, files } of this.#tree.segments) {
      const there = starts.get(id);
      if (there !== undefined)
        for (let i = 0; i < files; i++) this.#found(this.#places[at + i] ?? NONE, n, there + i);
      at += files;
    }
  }

  /**
   * Looks through a record's rows. Those in a segment of the tree are the tree's own: they are not read again, and of
   * no use where all of its files are looked for.
   */
  #findContents(n: number): void {
    const starts = new Map<Digest, number>();
    let at = 0;
    for (const { id, rows } of this.#tree.segments) {
      starts.set(id, at);
      at += rows;
    }
    let start = 0;
    for (const [i, { id, files }] of (this.#records[n]?.segments ?? []).entries()) {
      const own = starts.get(id);
      if (own === undefined) this.#findIn(n, i, start);
      else if (this.#isPart) this.#findInOwn(n, own, start, files);
      start += files;
    }
  }

  /** @param start the number of the segment's first file in the record's tree, as below */
  #findIn(n: number, segment: number, start: number): void {
    const cursor = this.#records[n]?.cursorOf(segment);
    for (let file = start; cursor?.next() === true;) {
      if (!cursor.isFile) continue;
      const found = this.#heads.get(contentKey(cursor));
      if (found !== undefined) this.#found(found, n, file, cursor.path);
      file += 1;
    }
  }

  /** @param at where the segment begins among the tree's rows */
  #findInOwn(n: number, at: number, start: number, files: number): void {
    for (let file = start; file < start + files; at++) {
      const row = this.#tree.rows[at] as Row;
      if (!isFileRow(row)) continue;
      const found = this.#heads.get(contentKey(row));
      if (found !== undefined) this.#found(found, n, file, row.path);
      file += 1;
    }
  }

  #isFound(at: number): boolean {
    return (this.#record[at] ?? NONE) !== NONE;
  }

  /** What one row has, all rows of the same content have. */
  #share(): void {
    const give = (from: number, to: number): void => {
      if (this.#isFound(from) && !this.#isFound(to))
        this.#found(to, this.#record[from] ?? NONE, this.#index[from] ?? 0, this.#pathOf(from));
    };
    for (const [at, head] of this.#head.entries()) give(at, head);
    for (const [at, head] of this.#head.entries()) give(head, at);
  }

  #found(at: number, record: number, index: number, where?: string): void {
    if (record === NONE || this.#record[at] !== NONE || this.#inodes[record]?.[index] === 0) return;
    this.#record[at] = record;
    this.#index[at] = index;
    if (where !== undefined && where !== this.#files[at]?.row.path) this.#moved.set(at, where);
  }
}
