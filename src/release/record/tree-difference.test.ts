import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { digestOf, type TreeId } from "../../lib/text/ids.ts";
import { encodeRecord, RecordFile } from "./record-file.ts";
import { releaseId, tempDir } from "../release.fixture.ts";
import { encodeRow, isFileRow, type Row } from "../tree/rows.ts";
import { eachSegment } from "../tree/segments.ts";
import { differenceOf, type GoneRow } from "./tree-difference.ts";
import { comparePaths } from "../tree/tree-path.ts";

/** Enough for many segments, with a path of every kind of order. */
function tree(): Row[] {
  const rows: Row[] = [];
  for (let n = 0; n < 3000; n++) {
    const folder = `lib-${n >> 5}`;
    if (n % 32 === 0) rows.push({ kind: "d", path: folder });
    const path = `${folder}/${n % 7 === 0 ? "\u{1f600}" : n % 5 === 0 ? "\uff01" : "m"}${n}`;
    if (n % 50 === 0) rows.push({ kind: "l", path, target: `m${n}` });
    else rows.push({ kind: n % 11 === 0 ? "x" : "f", path, size: n, sha256: digestOf(String(n)) });
  }
  return rows.sort((a, b) => comparePaths(a.path, b.path));
}

function recordOf(t: TestContext, rows: readonly Row[]): RecordFile {
  const file = path.join(tempDir(t), "record");
  const segments = [...eachSegment(rows)];
  const files = rows.filter(isFileRow).length;
  const content = {
    release: releaseId(1),
    tree: digestOf("") as string as TreeId,
    rows,
    segments,
    times: Array.from({ length: files }, () => 0),
    inodes: new Float64Array(files),
    lists: [],
    writable: new Map(),
  };
  fs.writeFileSync(file, Buffer.concat([...encodeRecord(content)]));
  const record = RecordFile.open(file);
  assert.ok(record !== undefined);
  atEnd(t, () => record[Symbol.dispose]());
  return record;
}

/** The slow and plain way. */
function expected(old: readonly Row[], rows: readonly Row[]): { same: number[]; gone: GoneRow[] } {
  const before = old.filter(isFileRow).map(encodeRow);
  const after = new Set(rows.map(encodeRow));
  return {
    same: rows.filter(isFileRow).map((row) => before.indexOf(encodeRow(row))),
    gone: old.filter((row) => !after.has(encodeRow(row))).map(({ kind, path }) => ({ kind, path })),
  };
}

const changes: Readonly<Record<string, (rows: readonly Row[]) => Row[]>> = {
  nothing: (rows) => [...rows],
  "a content here and there": (rows) =>
    rows.map((row, n) => (n % 97 === 5 && isFileRow(row) ? { ...row, sha256: digestOf("new") } : row)),
  "a size": (rows) => rows.map((row, n) => (n === 1000 && isFileRow(row) ? { ...row, size: 7 } : row)),
  "kinds and a link's text": (rows) =>
    rows.map((row, n): Row => {
      if (row.kind === "l") return n % 2 === 0 ? { ...row, target: "elsewhere" } : row;
      if (row.kind === "d" || n % 90 !== 0) return row;
      return { ...row, kind: row.kind === "f" ? "x" : "f" };
    }),
  "rows that came and went": (rows) =>
    rows.flatMap((row, n): Row[] => {
      if (n % 101 === 3) return [];
      return n % 103 === 4 ? [row, { kind: "d", path: `${row.path}-` }] : [row];
    }),
  "all but the end": (rows) => rows.slice(0, 900),
  "all but the start": (rows) => rows.slice(-900),
  everything: () => [],
};

for (const [what, change] of Object.entries(changes)) {
  test(`a tree that differs in ${what} is told row by row`, (t) => {
    const old = tree();
    const rows = change(old).sort((a, b) => comparePaths(a.path, b.path));
    const segments = [...eachSegment(rows)];
    const { same, gone } = differenceOf(recordOf(t, old), { rows, segments, times: [] });
    assert.deepEqual({ same: [...same], gone }, expected(old, rows));
  });
}
