import type { RecordFile } from "./record-file.ts";
import { isFileRow, type Row } from "./rows.ts";
import type { KnownTree } from "./tree-blobs.ts";
import { comparePaths } from "./tree-path.ts";

const NONE = -1;

export interface TreeDifference {
  /** Per file row of the new tree: which file of the old one has the very same row; -1 where none has. */
  readonly same: Int32Array;
  /** Rows of the old tree that the new one does not have, in order. */
  readonly gone: readonly Row[];
}

/**
 * Compares an install's tree with another one. Rows in a segment that both have are not looked at; the others of both
 * are gone through side by side, as both are sorted.
 */
export function differenceOf(old: RecordFile, { rows, segments }: KnownTree): TreeDifference {
  const rest = new RowsBeyond(old, new Set(segments.map(({ id }) => id)));
  const same = new Int32Array(segments.reduce((sum, { files }) => sum + files, 0)).fill(NONE);
  const gone: Row[] = [];
  let at = 0;
  let next = 0;
  for (const segment of segments) {
    const start = rest.shared.get(segment.id);
    const end = at + segment.rows;
    if (start === undefined) {
      for (; at < end; at++) {
        const row = rows[at] as Row;
        const isSame = findRow(row, rest, gone);
        if (isFileRow(row)) same[next++] = isSame ? rest.file : NONE;
        if (isSame) rest.next();
      }
    } else for (let i = 0; i < segment.files; i++) same[next++] = start + i;
    at = end;
  }
  for (; rest.row !== undefined; rest.next()) gone.push(rest.row);
  return { same, gone };
}

/** Goes on to where the row would stand, and says whether it stands there; what is passed by is gone. */
function findRow(row: Row, rest: RowsBeyond, gone: Row[]): boolean {
  for (; rest.row !== undefined; rest.next()) {
    const isAt = rest.row.path === row.path;
    if (isAt && isSameRow(rest.row, row)) return true;
    if (!isAt && comparePaths(rest.row.path, row.path) > 0) return false;
    gone.push(rest.row);
  }
  return false;
}

/** Of two rows with one path. */
function isSameRow(a: Row, b: Row): boolean {
  if (a.kind !== b.kind) return false;
  if (a.kind === "l") return b.kind === "l" && a.target === b.target;
  return !isFileRow(a) || (isFileRow(b) && a.sha256 === b.sha256 && a.size === b.size);
}

/** The rows of an install's tree that are in no segment of another one, one after the other. */
class RowsBeyond {
  readonly #record: RecordFile;
  /** Segments still to be read, with the number of their first file; the next one last. */
  readonly #todo: (readonly [number, number])[] = [];
  #rows: readonly Row[] = [];
  #at = -1;
  #files = 0;
  /** Segment that both have → number of its first file in the install's tree. */
  readonly shared = new Map<string, number>();
  /** Undefined at the end. */
  row: Row | undefined;

  constructor(record: RecordFile, others: ReadonlySet<string>) {
    this.#record = record;
    let start = 0;
    for (const [n, { id, files }] of record.segments.entries()) {
      if (others.has(id)) this.shared.set(id, start);
      else this.#todo.push([n, start]);
      start += files;
    }
    this.#todo.reverse();
    this.next();
  }

  /** Which file of the tree the row is; it is one. */
  get file(): number {
    return this.#files;
  }

  next(): void {
    if (this.row !== undefined && isFileRow(this.row)) this.#files += 1;
    this.#at += 1;
    for (; this.#at >= this.#rows.length; this.#at = 0) {
      const segment = this.#todo.pop();
      if (segment === undefined) return void (this.row = undefined);
      this.#rows = this.#record.rowsOf(segment[0]);
      this.#files = segment[1];
    }
    this.row = this.#rows[this.#at];
  }
}
