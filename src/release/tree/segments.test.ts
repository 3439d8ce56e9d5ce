import assert from "node:assert/strict";
import { test } from "node:test";
import { digestOf } from "../../lib/text/ids.ts";
import { arrange } from "./arrange.ts";
import { treeIdOf, type Row } from "./rows.ts";
import { decodeRoot, eachSegment, encodeRoot, outlineOf, SEGMENT_BOUND } from "./segments.ts";

const segment = (n: number, length: number) => ({ id: digestOf(`segment ${n}`), length });

test("a list leads to no more than a tree may have, and to nothing twice", () => {
  const list = Array.from({ length: 1000 }, (_, n) => segment(n, SEGMENT_BOUND));
  assert.deepEqual(decodeRoot(encodeRoot(list)), list);
  const bad = [
    [segment(1, 10), segment(2, 20), segment(1, 10)],
    Array.from({ length: 1200 }, (_, n) => segment(n, SEGMENT_BOUND)),
  ];
  for (const [n, refs] of bad.entries())
    assert.throws(() => decodeRoot(encodeRoot(refs)), { code: "TREE_CORRUPT" }, String(n));
});

test("what would make a list longer than anybody reads is refused before it is made", () => {
  const target = "t".repeat(4000);
  const entries = Array.from({ length: 70_000 }, (_, n) => ({ kind: "l", path: String(n), target }) as const);
  const reason = "the list of what is in it is over 256 MiB";
  assert.throws(() => arrange(entries), { code: "TREE_REFUSED", data: { path: ".", reason } });
  assert.equal(arrange(entries.slice(0, 60_000)).length, 60_000);
});

test("a list is read strictly, whoever sent it", () => {
  const id = digestOf("a segment");
  const head = "skein-rows-1\n";
  assert.deepEqual(decodeRoot(Buffer.from(`${head}${id} 10\n`)), [{ id, length: 10 }]);
  assert.deepEqual(decodeRoot(Buffer.from(head)), []);
  for (const text of [
    "",
    `${id} 10\n`,
    `skein-rows-2\n${id} 10\n`,
    `${head}${id} 10`,
    `${head}\n`,
    `${head}${id.slice(1)} 10\n`,
    `${head}${id}\n`,
    `${head}${id} 010\n`,
    `${head}${id} 0\n`,
    `${head}${id} -1\n`,
    `${head}${id} ${SEGMENT_BOUND + 1}\n`,
    `${head}${id} 10 \n`,
  ])
    assert.throws(() => decodeRoot(Buffer.from(text)), { code: "TREE_CORRUPT" }, text);
});

test("a segment tells how many rows and files are in it", () => {
  const rows = Array.from({ length: 3000 }, (_, n): Row => {
    const path = String(n).padStart(4, "0");
    if (n % 3 === 0) return { kind: "d", path };
    return n % 3 === 1
      ? { kind: "l", path, target: "x" }
      : { kind: "f", path, size: n, sha256: digestOf(path) };
  });
  const segments = [...eachSegment(rows)];
  assert.ok(segments.length > 3);
  let at = 0;
  for (const { bytes, rows: count, files } of segments) {
    const own = rows.slice(at, (at += count));
    assert.equal(bytes.toString().split("\n").length - 1, count);
    assert.equal(own.filter(({ kind }) => kind === "f").length, files);
  }
  assert.equal(at, rows.length);
  assert.deepEqual(outlineOf(rows), {
    tree: treeIdOf(segments.map(({ bytes }) => bytes)),
    segments: segments.map(({ bytes, ...segment }) => ({ ...segment, length: bytes.length })),
  });
  assert.deepEqual([...eachSegment([])], []);
});
