import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { directoryDepot, type DirectoryDepot } from "../../depot/directory/directory.ts";
import { digestOf, type Digest } from "../../lib/text/ids.ts";
import { bytesBlob, putCompressed } from "../fetch/blobs.ts";
import { noise, refOf, tempDir } from "../release.fixture.ts";
import { MIN_CHUNK } from "../tree/gear.ts";
import { compressFrame, encodePack, packName, type ChunkRef } from "../tree/pack.ts";
import type { PublishedTree } from "../tree/published.ts";
import { encodeIndex, indexName } from "../tree/release-index.ts";
import { treeIdOf, type Row } from "../tree/rows.ts";
import { eachSegment, encodeRoot } from "../tree/segments.ts";
import { verifyTree } from "./verify-tree.ts";

/** Whatever rows and lists somebody wants to have signed and stored, in one pack with these chunks. */
async function store(
  t: TestContext,
  rows: readonly Row[],
  contents: readonly Buffer[],
  lists: ReadonlyMap<Digest, readonly ChunkRef[]> = new Map(),
): Promise<[depot: DirectoryDepot, tree: PublishedTree]> {
  const depot = directoryDepot(tempDir(t));
  const segments = [...eachSegment(rows)];
  const chunks = [...contents, ...segments.map(({ bytes }) => bytes)];
  const frame = compressFrame(Buffer.concat(chunks), chunks.length, "quick");
  const pack = encodePack([{ length: frame.length, chunks: chunks.map(refOf) }], frame, lists);
  const tree = treeIdOf(segments.map(({ bytes }) => bytes));
  await depot.put(packName(pack.id), bytesBlob(Buffer.concat(pack.pieces)), t.signal);
  const index = encodeIndex({ packs: [pack.id], deltas: [] });
  await depot.put(indexName(tree), bytesBlob(index), t.signal);
  const table = await putCompressed(depot, "rows", encodeRoot(segments), t.signal);
  return [depot, { tree, rows: table, since: null }];
}

const file = (path: string, content: Buffer, size = content.length): Row => ({
  kind: "f",
  path,
  size,
  sha256: digestOf(content),
});

/** More than are held at once. */
const PARTS = Array.from({ length: 20 }, (_, n) => noise(MIN_CHUNK, 2 * n + 1));
const LARGE = Buffer.concat(PARTS);
const SMALL = Buffer.from("small");
const WRONG = { code: "CHUNK_CORRUPT", message: /is not what the tree says/ };

test("a tree whose files are what its rows say is whole, also where parts of them repeat", async (t) => {
  const repeating = Buffer.concat([...PARTS.slice(0, 2), ...PARTS.slice(0, 2)]);
  const lists = new Map([
    [digestOf(LARGE), PARTS.map(refOf)],
    [digestOf(repeating), [...PARTS.slice(0, 2), ...PARTS.slice(0, 2)].map(refOf)],
  ]);
  const rows = [file("again", SMALL), file("empty", Buffer.alloc(0)), file("large", LARGE)];
  const all = [...rows, file("repeating", repeating), file("small", SMALL)];
  const [depot, tree] = await store(t, all, [...PARTS, SMALL], lists);
  assert.deepEqual((await verifyTree([depot], tree, t.signal)).rows, all);
});

test("what a list says of a file is proved by the file's own hash", async (t) => {
  for (const parts of [PARTS.toReversed(), PARTS.slice(1), [...PARTS, PARTS[0] as Buffer]]) {
    const lists = new Map([[digestOf(LARGE), parts.map(refOf)]]);
    const [depot, tree] = await store(t, [file("large", LARGE)], PARTS, lists);
    await assert.rejects(verifyTree([depot], tree, t.signal), WRONG);
  }
});

test("a file of another size than its row says is refused, of one chunk and of many", async (t) => {
  const lists = new Map([[digestOf(LARGE), PARTS.map(refOf)]]);
  for (const row of [file("small", SMALL, 4), file("large", LARGE, LARGE.length + 1)]) {
    const [depot, tree] = await store(t, [row], [SMALL, ...PARTS], lists);
    await assert.rejects(verifyTree([depot], tree, t.signal), WRONG);
  }
});

test("a file that no pack has is missing", async (t) => {
  const [depot, tree] = await store(t, [file("small", SMALL)], PARTS);
  await assert.rejects(verifyTree([depot], tree, t.signal), { code: "CHUNK_MISSING" });
});
