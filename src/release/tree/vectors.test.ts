import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { digestOf } from "../../lib/text/ids.ts";
import { cutAt } from "./gear.ts";
import { decodeHead, headLength, inflate, openFrame, PRELUDE_BYTES } from "./pack.ts";
import { noise } from "../release.fixture.ts";
import { decodeIndex } from "./release-index.ts";
import { decodeRows, encodeRow, isFileRow, treeIdOf, type Row } from "./rows.ts";
import { eachSegment, encodeRoot } from "./segments.ts";
import { decodeSince } from "./since.ts";

interface Vectors {
  readonly chunks: {
    readonly cases: readonly { bytes: string; length: number; seed: number; chunks: number[] }[];
  };
  readonly tree: {
    readonly rows: string;
    readonly tree: string;
    readonly segments: string;
    readonly rowsDigest: string;
    readonly since: string;
    readonly sinceDigest: string;
    readonly times: readonly number[];
  };
  readonly manyRows: { count: number; segmentLengths: number[]; rowsDigest: string; tree: string };
  readonly pack: {
    files: Record<string, string[]>;
    bytes: string;
    rawHead: string;
    id: string;
    index: string;
  };
}

const file = path.join(import.meta.dirname, "../../../docs/formats/vectors-tree.json");
const vectors = JSON.parse(fs.readFileSync(file, "utf8")) as Vectors;

test("files are cut where docs/formats/chunks.md says", () => {
  for (const { bytes, length, seed, chunks } of vectors.chunks.cases) {
    const content = bytes === "zeros" ? Buffer.alloc(length) : noise(length, seed);
    const found: number[] = [];
    for (let start = 0; start < length;) {
      const end = cutAt(content, start, length);
      found.push(end - start);
      start = end;
    }
    assert.deepEqual(found, chunks, `${bytes} ${length} ${seed}`);
  }
});

test("trees have the ids that docs/formats/tree.md says", () => {
  const { tree } = vectors;
  const rows = decodeRows(Buffer.from(tree.rows));
  assert.equal(rows.map(encodeRow).join(""), tree.rows);
  assert.equal(treeIdOf([Buffer.from(tree.rows)]), tree.tree);
  const root = encodeRoot([...eachSegment(rows)]);
  assert.equal(root.toString(), tree.segments);
  assert.equal(digestOf(root), tree.rowsDigest);
  assert.deepEqual(decodeSince(Buffer.from(tree.since), rows.filter(isFileRow).length), tree.times);
  assert.equal(digestOf(tree.since), tree.sinceDigest);
});

test("many rows are cut into the segments that docs/formats/tree.md says", () => {
  const two = (n: number): string => String(Math.floor(n)).padStart(2, "0");
  const rows = Array.from({ length: vectors.manyRows.count }, (_, i): Row => {
    const path = `folder-${two(i / 50)}/file-${String(i).padStart(4, "0")}`;
    return { kind: "f", path, size: i, sha256: digestOf(String(i)) };
  });
  const segments = [...eachSegment(rows)];
  assert.deepEqual(
    segments.map(({ bytes }) => bytes.length),
    vectors.manyRows.segmentLengths,
  );
  assert.equal(digestOf(encodeRoot(segments)), vectors.manyRows.rowsDigest);
  assert.equal(treeIdOf(segments.map(({ bytes }) => bytes)), vectors.manyRows.tree);
});

test("a pack reads as docs/formats/pack.md says", () => {
  const { pack } = vectors;
  const bytes = Buffer.from(pack.bytes, "base64");
  assert.equal(digestOf(bytes), pack.id);
  const end = headLength(bytes);
  assert.equal(
    inflate(bytes.subarray(PRELUDE_BYTES, end), bytes.readUInt32LE(12)).toString("hex"),
    pack.rawHead,
  );
  const head = decodeHead(bytes.subarray(0, end));
  assert.equal(head.size, bytes.length);
  const found = new Map<string, string>();
  for (const frame of head.frames) {
    const compressed = bytes.subarray(frame.start, frame.start + frame.length);
    openFrame(frame, inflate(compressed, frame.raw), (chunk, content) =>
      found.set(chunk.id, content.toString()),
    );
  }
  for (const [content, chunks] of Object.entries(pack.files)) {
    const list = head.lists.get(digestOf(content)) ?? [];
    assert.deepEqual(
      list.map(({ id }) => found.get(id)),
      chunks,
    );
  }
  assert.deepEqual(decodeIndex(Buffer.from(pack.index)), { packs: [pack.id], deltas: [] });
});

test("a damaged head is PACK_CORRUPT, whatever byte it is", () => {
  const bytes = Buffer.from(vectors.pack.bytes, "base64");
  const end = headLength(bytes);
  for (let at = 0; at < end; at++) {
    const changed = Buffer.from(bytes);
    changed[at] = (changed[at] ?? 0) ^ 0x01;
    assert.throws(() => decodeHead(changed.subarray(0, end)), { code: "PACK_CORRUPT" }, `byte ${at}`);
  }
});
