import type { RecordFile } from "./record-file.ts";
import { encodeRow, isFileRow, type Row } from "./rows.ts";
import type { KnownTree } from "./tree-blobs.ts";

const NONE = -1;

export interface TreeDifference {
  /** Per file row of the new tree: which file of the old one has the very same row; -1 where none has. */
  readonly same: Int32Array;
  /** Rows of the old tree that the new one does not have, in order. */
  readonly gone: readonly Row[];
}

/** Compares an install's tree with another one. Rows in a segment that both have are not looked at. */
export function differenceOf(old: RecordFile, { rows, segments }: KnownTree): TreeDifference {
  const ids = new Set(segments.map(({ id }) => id));
  const starts = new Map<string, number>();
  /** Row, and which file of the old tree it is, by the row's text. */
  const left = new Map<string, { readonly row: Row; readonly file: number }>();
  let file = 0;
  for (const [n, { id, files }] of old.segments.entries()) {
    starts.set(id, file);
    if (ids.has(id)) {
      file += files;
      continue;
    }
    for (const row of old.rowsOf(n)) left.set(encodeRow(row), { row, file: isFileRow(row) ? file++ : NONE });
  }
  const same = new Int32Array(segments.reduce((sum, { files }) => sum + files, 0)).fill(NONE);
  let at = 0;
  let next = 0;
  for (const segment of segments) {
    const start = starts.get(segment.id);
    const end = at + segment.rows;
    if (start === undefined) {
      for (; at < end; at++) {
        const row = rows[at] as Row;
        const key = encodeRow(row);
        if (isFileRow(row)) same[next++] = left.get(key)?.file ?? NONE;
        left.delete(key);
      }
    } else for (let i = 0; i < segment.files; i++) same[next++] = start + i;
    at = end;
  }
  return { same, gone: [...left.values()].map(({ row }) => row) };
}
