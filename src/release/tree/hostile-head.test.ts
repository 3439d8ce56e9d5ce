/** Heads of packs and indexes that say what cannot be: refused before anything is read or made room for by them. */
import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { test } from "node:test";
import { digestOf, type ChunkId, type TreeId } from "../../lib/text/ids.ts";
import { noise } from "../release.fixture.ts";
import { MAX_CHUNK } from "./gear.ts";
import {
  compress,
  decodeHead,
  encodePack,
  FRAME_BYTES,
  HEAD_BYTES,
  headLength,
  openFrame,
  PRELUDE_BYTES,
  type FrameRef,
} from "./pack.ts";
import { decodeIndex, encodeIndex } from "./release-index.ts";

/** A pack's first bytes around a head of any content, sealed as the format wants it. */
function headOf(raw: Buffer, { magic = "skpack1\n", says = raw.length } = {}): Buffer {
  const head = compress(raw, 3);
  const prelude = Buffer.alloc(PRELUDE_BYTES);
  prelude.write(magic, "latin1");
  prelude.writeUInt32LE(head.length, 8);
  prelude.writeUInt32LE(says, 12);
  hash("sha256", head, "buffer").copy(prelude, 16, 0, 16);
  return Buffer.concat([prelude, head]);
}

const u32 = (...numbers: readonly number[]): Buffer => {
  const bytes = Buffer.alloc(4 * numbers.length);
  for (const [n, number] of numbers.entries()) bytes.writeUInt32LE(number, 4 * n);
  return bytes;
};

const entry = (length: number, n = 0): Buffer =>
  Buffer.concat([Buffer.from(digestOf(`chunk ${n}`), "hex"), u32(length)]);
const chunks = (...lengths: readonly number[]): Buffer => Buffer.concat(lengths.map(entry));
const counts = (of: number, frames: number, lists: number): Buffer => u32(of, frames, lists);
const raw = (...parts: readonly Buffer[]): Buffer => Buffer.concat(parts);

test("a head that is right is read, with frames and lists", () => {
  const { frames, lists } = decodeHead(
    headOf(raw(counts(2, 1, 1), u32(9, 30), chunks(10, 20), entry(2, 7), chunks(10, 20))),
  );
  assert.deepEqual([frames.length, frames[0]?.raw, lists.get(digestOf("chunk 7"))?.length], [1, 30, 2]);
});

test("a head is read up to its bounds", () => {
  const full = [MAX_CHUNK, MAX_CHUNK, MAX_CHUNK, MAX_CHUNK];
  const { frames } = decodeHead(
    headOf(raw(counts(4, 1, 0), u32(2 * FRAME_BYTES, FRAME_BYTES), chunks(...full))),
  );
  assert.deepEqual([frames[0]?.raw, frames[0]?.length], [FRAME_BYTES, 2 * FRAME_BYTES]);
});

const FIVE = Array.from({ length: 5 }, () => MAX_CHUNK);
const BAD: readonly [what: string, head: Buffer][] = [
  [
    "has frames that hold no whole number of chunks",
    headOf(raw(counts(2, 1, 0), u32(9, 15), chunks(10, 10))),
  ],
  ["has a frame that holds more than its chunks", headOf(raw(counts(1, 1, 0), u32(9, 20), chunks(10)))],
  [
    "has a frame that inflates beyond its bound",
    headOf(raw(counts(5, 1, 0), u32(9, 5 * MAX_CHUNK), chunks(...FIVE))),
  ],
  [
    "has a frame of more bytes than any needs",
    headOf(raw(counts(1, 1, 0), u32(2 * FRAME_BYTES + 1, 10), chunks(10))),
  ],
  ["lists a chunk that no frame holds", headOf(raw(counts(2, 1, 0), u32(9, 10), chunks(10, 10)))],
  ["has a chunk of no bytes", headOf(raw(counts(2, 1, 0), u32(9, 10), chunks(0, 10)))],
  [
    "has a chunk beyond its bound",
    headOf(raw(counts(1, 1, 0), u32(9, MAX_CHUNK + 1), chunks(MAX_CHUNK + 1))),
  ],
  [
    "has a list that ends too soon",
    headOf(raw(counts(1, 1, 1), u32(9, 10), chunks(10), entry(3), chunks(10))),
  ],
  ["has more behind its lists", headOf(raw(counts(1, 1, 0), u32(9, 10), chunks(10), u32(1)))],
  ["counts more chunks than it has", headOf(counts(0xffff_ffff, 0, 0))],
  ["counts more frames than it has", headOf(counts(0, 0xffff_ffff, 0))],
  ["counts more lists than it has", headOf(counts(0, 0, 0xffff_ffff))],
  ["is shorter than its counts", headOf(u32(0, 0))],
  ["is no pack", headOf(counts(0, 0, 0), { magic: "skpack2\n" })],
  ["says that it inflates to less", headOf(counts(0, 0, 0), { says: 11 })],
  ["says that it inflates to more than any may", headOf(counts(0, 0, 0), { says: 2 ** 31 })],
  ["is cut", headOf(counts(0, 0, 0)).subarray(0, -1)],
  ["is cut in its prelude", headOf(counts(0, 0, 0)).subarray(0, PRELUDE_BYTES - 1)],
  ["is cut behind its first line", headOf(counts(0, 0, 0)).subarray(0, 10)],
];

for (const [what, head] of BAD) {
  test(`a pack's head that ${what} is refused`, () => {
    assert.throws(() => decodeHead(head), { code: "PACK_CORRUPT" });
  });
}

test("a head beyond its bound is refused before it is fetched, or room is made for it", () => {
  const prelude = (length: number, says: number): Buffer =>
    Buffer.concat([Buffer.from("skpack1\n"), u32(length, says), Buffer.alloc(16)]);
  assert.equal(headLength(prelude(HEAD_BYTES, HEAD_BYTES)), PRELUDE_BYTES + HEAD_BYTES);
  for (const [length, says] of [
    [HEAD_BYTES + 1, 1],
    [1, HEAD_BYTES + 1],
  ] as const)
    assert.throws(() => headLength(prelude(length, says)), { message: /its head is too long$/ });
});

test("a head that was changed is refused, wherever", () => {
  const head = headOf(raw(counts(1, 1, 0), u32(9, 10), chunks(10)));
  for (let at = 0; at < head.length; at++) {
    const changed = Buffer.from(head);
    changed[at] = (changed[at] ?? 0) ^ 1;
    assert.throws(() => decodeHead(changed), { code: "PACK_CORRUPT" }, String(at));
  }
});

test("a chunk with other bytes than its id says is not handed on", () => {
  const bytes = noise(3000);
  const refs = [bytes.subarray(0, 1000), bytes.subarray(1000)].map((part) => ({
    id: digestOf(part) as string as ChunkId,
    length: part.length,
  }));
  const body = compress(bytes, 3);
  const { pieces } = encodePack([{ length: body.length, chunks: refs }], body, new Map());
  const [frame] = decodeHead(Buffer.concat(pieces)).frames as [FrameRef];
  const changed = Buffer.from(bytes);
  changed[1500] = (changed[1500] ?? 0) ^ 1;
  const taken: number[] = [];
  assert.throws(() => openFrame(frame, changed, ({ length }) => taken.push(length)), {
    code: "CHUNK_CORRUPT",
  });
  assert.equal(taken.includes(2000), false);
});

const pack = `pack ${digestOf("a pack")}`;
const delta = `delta ${digestOf("a tree")}`;
const INDEXES: readonly [what: string, lines: readonly string[]][] = [
  ["more lines than there can be packs and deltas", Array.from({ length: 10_065 }, () => pack)],
  ["a pack that is named by no digest", ["pack ../../etc/passwd"]],
  ["a pack among the deltas", [`${delta} 1`, pack]],
  ["a line of another kind", [`pick ${digestOf("a pack")}`]],
  ["a delta from no tree", ["delta x 1"]],
  ["a delta longer than any", [`${delta} ${2 ** 40 + 1}`]],
  ["a delta of no length", [`${delta} 01`]],
  ["a delta with more to say", [`${delta} 1 1`]],
  ["a line of another kind among its deltas", [`${delta} 1`, `delto ${digestOf("a tree")} 1`]],
  ["more deltas than are kept", Array.from({ length: 65 }, () => `${delta} 1`)],
];

test("no index is written that is not read", () => {
  const packs = Array.from({ length: 10_000 }, (_, n) => digestOf(`pack ${n}`));
  const deltas = Array.from({ length: 64 }, (_, n) => ({
    from: digestOf(`tree ${n}`) as string as TreeId,
    bytes: n,
  }));
  assert.deepEqual(decodeIndex(encodeIndex({ packs, deltas })), { packs, deltas });
  const more = [...packs, digestOf("one more")];
  assert.throws(() => encodeIndex({ packs: more, deltas: [] }), { code: "TREE_REFUSED" });
  const text = more.map((id) => `pack ${id}\n`).join("");
  assert.throws(() => decodeIndex(Buffer.from(`skein-index-1\n${text}`)), { code: "PACK_CORRUPT" });
});

test("an index that is right is read", () => {
  const { packs, deltas } = decodeIndex(Buffer.from(`skein-index-1\n${pack}\n${delta} ${2 ** 40}\n`));
  assert.deepEqual([packs, deltas], [[digestOf("a pack")], [{ from: digestOf("a tree"), bytes: 2 ** 40 }]]);
});

test("an index without its first line, or the end of its last, is refused", () => {
  for (const text of [`skein-index-2\n${pack}\n`, `${pack}\n`, "", `skein-index-1\n${pack}`])
    assert.throws(() => decodeIndex(Buffer.from(text)), { code: "PACK_CORRUPT" }, text);
});

for (const [what, lines] of INDEXES) {
  test(`an index with ${what} is refused`, () => {
    const text = `skein-index-1\n${lines.join("\n")}\n`;
    assert.throws(() => decodeIndex(Buffer.from(text)), { code: "PACK_CORRUPT" });
  });
}
