/** What a depot may send at most, and what of it is believed. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import type { DepotReader } from "../../depot/seam/depot.ts";
import { readBy } from "../../depot/seam/read-by.ts";
import { digestOf, type ChunkId, type Digest, type TreeId } from "../../lib/text/ids.ts";
import { makeWorld } from "../release.fixture.ts";
import { compress, encodePack, packName } from "../tree/pack.ts";
import { encodeIndex, indexName } from "../tree/release-index.ts";
import { encodeRow, treeIdOf, type Row } from "../tree/rows.ts";
import { encodeRoot } from "../tree/segments.ts";
import { bytesBlob, getCompressed, putCompressed, readBlob, readHeadBytes } from "./blobs.ts";
import { Fetcher } from "./fetcher.ts";
import { provePack, proveTable } from "./prove-blob.ts";
import { loadTree } from "./tree-blobs.ts";

const PIECE = 65_536;

/** A depot that never stops sending, and how much it has sent. */
function endless({ depot }: ReturnType<typeof makeWorld>): { readonly depot: DepotReader; sent: number } {
  const told = { depot: depot as DepotReader, sent: 0 };
  told.depot = readBy(depot, async function* () {
    for (;;) {
      told.sent += PIECE;
      yield Buffer.alloc(PIECE);
    }
  });
  return told;
}

test("a depot that sends more than a blob may have is read no further", async (t) => {
  const far = endless(makeWorld(t));
  await assert.rejects(readBlob(far.depot, "rows/x", 1_000_000, t.signal), { code: "PACK_CORRUPT" });
  assert.ok(far.sent <= 1_000_000 + PIECE, `${far.sent} bytes were read`);
});

/** A table as depots keep it, that says what it inflates to. */
const table = (raw: Buffer, says = raw.length): Buffer => {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(says);
  return Buffer.concat([length, compress(raw, 3)]);
};

test("a table that inflates further than it may, or to other bytes than its name says, is refused", async (t) => {
  const { depot } = makeWorld(t);
  const raw = Buffer.alloc(100_000, "rows");
  const get = async (id: Digest, most: number) => await getCompressed(depot, "rows", id, most, t.signal);
  const id = await putCompressed(depot, "rows", raw, t.signal);
  assert.deepEqual(await get(id, 100_000), raw);
  await assert.rejects(get(id, 99_999), { code: "TREE_CORRUPT" });
  const other = digestOf("other");
  await depot.put(`rows/${other}`, bytesBlob(table(raw)), t.signal);
  await assert.rejects(get(other, 100_000), { code: "TREE_CORRUPT" });
});

test("a pack that is cut within its head is refused", async (t) => {
  const { depot } = makeWorld(t);
  const chunk = Buffer.alloc(20_000, 7);
  const refs = Array.from({ length: 4000 }, (_, n) => ({
    id: digestOf(String(n)) as string as ChunkId,
    length: 5,
  }));
  const body = compress(chunk, 3);
  const { id, pieces } = encodePack([{ length: body.length, chunks: refs }], body, new Map());
  const whole = Buffer.concat(pieces);
  await depot.put(packName(id), bytesBlob(whole.subarray(0, 1000)), t.signal);
  await assert.rejects(readHeadBytes(depot, id, t.signal), { code: "PACK_CORRUPT" });
});

const reader = (bytes: Buffer) => async (range: { readonly start: number; readonly end: number }) =>
  await Promise.resolve(bytes.subarray(range.start, range.end));

test("what is taken in for others is what its name, its head and its bounds say", async () => {
  const chunk = Buffer.alloc(3000, 7);
  const refs = [{ id: digestOf(chunk) as string as ChunkId, length: chunk.length }];
  const body = compress(chunk, 3);
  const pack = Buffer.concat(encodePack([{ length: body.length, chunks: refs }], body, new Map()).pieces);
  await provePack(reader(pack), pack.length);
  const more = Buffer.concat([pack, Buffer.from("more")]);
  await assert.rejects(provePack(reader(more), more.length), { code: "PACK_CORRUPT" });
  const raw = Buffer.alloc(5 * 2 ** 20, "rows");
  const far = table(raw);
  await assert.rejects(proveTable("rows", digestOf(raw), reader(far), far.length), {
    code: "TREE_CORRUPT",
    message: /too far/,
  });
  await proveTable("since", digestOf(raw), reader(far), far.length);
});

/** Stores a tree of these segments as a publisher with a key could, and reads it. */
async function loaded(t: TestContext, segments: readonly (readonly Row[])[], signed?: TreeId) {
  const { depot } = makeWorld(t);
  const pieces = segments.map((rows) => Buffer.from(rows.map(encodeRow).join("")));
  const refs = pieces.map((bytes) => ({ id: digestOf(bytes), length: bytes.length }));
  const chunks = refs.map(({ id, length }) => ({ id: id as string as ChunkId, length }));
  const body = compress(Buffer.concat(pieces), 3);
  const pack = encodePack([{ length: body.length, chunks }], body, new Map());
  const tree = signed ?? treeIdOf(pieces);
  await depot.put(packName(pack.id), bytesBlob(Buffer.concat(pack.pieces)), t.signal);
  await depot.put(indexName(tree), bytesBlob(encodeIndex({ packs: [pack.id], deltas: [] })), t.signal);
  const rows = await putCompressed(depot, "rows", encodeRoot(refs), t.signal);
  return await loadTree(new Fetcher([depot], t.signal), { tree, rows, since: null });
}

const file = (path: string): Row => ({ kind: "f", path, size: 1, sha256: digestOf(path) });

test("a tree is what was signed, whatever its packs and its list lead to", async (t) => {
  assert.equal((await loaded(t, [[file("a")], [file("b")]])).rows.length, 2);
  await assert.rejects(loaded(t, [[file("a")], [file("b")]], digestOf("another") as string as TreeId), {
    code: "TREE_CORRUPT",
  });
});

const HOSTILE: readonly [what: string, segments: readonly (readonly Row[])[]][] = [
  ["rows out of order from one segment to the next", [[file("b")], [file("a")]]],
  ["one path in two segments", [[file("a")], [file("a"), file("b")]]],
  ["a file in a folder that is none", [[file("a")], [file("a/b")]]],
  ["a file behind a link", [[{ kind: "l", path: "a", target: "b" }], [file("a/x"), file("b")]]],
  ["a link that leads out of it", [[{ kind: "l", path: "a", target: "../../etc/passwd" }]]],
];

for (const [what, segments] of HOSTILE) {
  test(`a tree that was signed with ${what} is refused`, async (t) => {
    await assert.rejects(loaded(t, segments), { code: /TREE_(REFUSED|CORRUPT)/ });
  });
}
