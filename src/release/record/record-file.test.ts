import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { type Digest, type TreeId, digestOf } from "../../lib/text/ids.ts";
import { encodeRecord, RecordFile, type RecordContent } from "./record-file.ts";
import { releaseId, tempDir } from "../release.fixture.ts";
import { isFileRow, type Row } from "../tree/rows.ts";
import { eachSegment } from "../tree/segments.ts";

const digest = (n: number): Digest => digestOf(String(n));

/** Rows for more than one segment, and lists for more than one piece of the file. */
function content(files: number): RecordContent {
  const rows: Row[] = [{ kind: "d", path: "wëb" }];
  for (let n = 0; n < files; n++) {
    rows.push({ kind: "f", path: `wëb/${String(n).padStart(6, "0")}.js`, size: n, sha256: digest(n) });
  }
  let at = 0;
  const segments = [...eachSegment(rows)].map(({ id, bytes }) => {
    const start = at;
    at += bytes.toString().split("\n").length - 1;
    return { id, length: bytes.length, files: rows.slice(start, at).filter(isFileRow).length };
  });
  const chunk = (n: number) => ({ id: digest(n) as never, length: n });
  return {
    release: releaseId(1),
    tree: digest(-1) as string as TreeId,
    rows,
    segments,
    times: Array.from({ length: files }, (_, n) => 1_700_000_000_000 + (n >> 8)),
    inodes: Float64Array.from({ length: files }, (_, n) => 2 ** 33 + n),
    lists: rows
      .filter(isFileRow)
      .slice(0, 3000)
      .map(({ path: where, sha256 }, n) => ({ path: where, sha256, chunks: [chunk(n + 1), chunk(n + 2)] })),
    writable: new Map([["tmp", "/data/tmp"]]),
  };
}

test("a record gives back what was written, piece by piece", (t) => {
  const file = path.join(tempDir(t), "record");
  const written = content(4000);
  fs.writeFileSync(file, Buffer.concat([...encodeRecord(written)]));
  using record = RecordFile.open(file);
  assert.ok(record !== undefined && written.segments.length > 5);
  const { release, tree, segments, writable, times, inodes } = written;
  assert.deepEqual(
    { release: record.release, tree: record.tree, segments: record.segments, writable: record.writable },
    { release, tree, segments, writable },
  );
  assert.deepEqual(record.times(), times);
  assert.deepEqual(record.inodes(), inodes);
  assert.deepEqual([...record.lists()], [...written.lists]);
  assert.deepEqual(
    segments.flatMap((_, n) => record.rowsOf(n)),
    [...written.rows],
  );
  assert.equal(digestOf(record.segment(segments[3]?.id as Digest) ?? ""), segments[3]?.id);
  assert.equal(record.segment(digest(-2)), undefined);
});

test("a record that lost or changed a byte anywhere is taken for none", (t) => {
  const file = path.join(tempDir(t), "record");
  const whole = Buffer.concat([...encodeRecord(content(40))]);
  for (let at = 0; at < whole.length; at += 61) {
    const changed = Buffer.from(whole);
    changed[at] = (changed[at] ?? 0) ^ 1;
    for (const bytes of [changed, whole.subarray(0, at)]) {
      fs.writeFileSync(file, bytes);
      assert.equal(RecordFile.open(file), undefined, `byte ${at}`);
    }
  }
  assert.equal(RecordFile.open(`${file}.none`), undefined);
});
