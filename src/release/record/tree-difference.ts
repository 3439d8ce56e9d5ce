import type { RecordFile } from "./record-file.ts";
import { isFileRow, type Row, type RowCursor } from "../tree/rows.ts";
import type { KnownTree } from "../fetch/tree-blobs.ts";
import { comparePaths } from "../tree/tree-path.ts";

const NONE = -1;

export interface TreeDifference {
  /** Per file row of the new tree: which file of the old one has the very same row; -1 where none has. */
  readonly same: Int32Array;
  /** What the old tree has and the new one has not, in order. */
  readonly gone: readonly GoneRow[];
}

export type GoneRow = Pick<Row, "kind" | "path">;

/**
 * Compares an install's tree with another one. Rows in a segment that both have are not looked at; the others of both
 * are gone through side by side, as both are sorted.
 */
export function differenceOf(old: RecordFile, { rows, segments }: KnownTree): TreeDifference {
  const rest = new RowsBeyond(old, new Set(segments.map(({ id }) => id)));
  const same = new Int32Array(segments.reduce((sum, { files }) => sum + files, 0)).fill(NONE);
  const gone: GoneRow[] = [];
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
  for (; rest.row !== undefined; rest.next()) gone.push(rest.gone());
  return { same, gone };
}

/** Goes on to where the row would stand, and says whether it stands there; what is passed by is gone. */
function findRow(row: Row, rest: RowsBeyond, gone: GoneRow[]): boolean {
  for (; rest.row !== undefined; rest.next()) {
    const { path } = rest.row;
    const isAt = path === row.path;
    if (isAt && isSameRow(rest.row, row)) return true;
    if (!isAt && comparePaths(path, row.path) > 0) return false;
    gone.push(rest.gone());
  }
  return false;
}

/** Of two rows with one path. */
function isSameRow(a: RowCursor, b: Row): boolean {
  if (a.kind !== b.kind) return false;
  if (b.kind === "l") return a.target === b.target;
  return !isFileRow(b) || (a.sha256 === b.sha256 && a.size === b.size);
}

/** The rows of an install's tree that are in no segment of another one, one after the other. */
class RowsBeyond {
  readonly #record: RecordFile;
  /** Segments still to be read, with the number of their first file; the next one last. */
  readonly #todo: (readonly [number, number])[] = [];
  #files = 0;
  /** Segment that both have → number of its first file in the install's tree. */
  readonly shared = new Map<string, number>();
  /** Undefined at the end. */
  row: RowCursor | undefined;

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

  /** The row, in memory of its own: a part of a segment's text would keep the whole of it. */
  gone(): GoneRow {
    const { kind, path } = this.row as RowCursor;
    return { kind, path: Buffer.from(path).toString() };
  }

  next(): void {
    if (this.row?.isFile === true) this.#files += 1;
    while (this.row?.next() !== true) {
      const segment = this.#todo.pop();
      if (segment === undefined) return void (this.row = undefined);
      this.row = this.#record.cursorOf(segment[0]);
      this.#files = segment[1];
    }
  }
}
