/** An index is anybody's word: who publishes a tree again finds out what it leads to. */
import assert from "node:assert/strict";
import path from "node:path";
import { test, type TestContext } from "node:test";
import type { DirectoryDepot } from "../../depot/directory/directory.ts";
import { digestOf, type ChunkId, type Digest } from "../../lib/text/ids.ts";
import { bytesBlob, piecesBlob } from "../fetch/blobs.ts";
import { verifyTree } from "../export/verify-tree.ts";
import { compress, encodePack, packName } from "../tree/pack.ts";
import { publish, type Published } from "./publish.ts";
import { aged, makeWorld, noise, plainSource, writeTree } from "../release.fixture.ts";
import { encodeIndex, indexName } from "../tree/release-index.ts";
import { indexOf } from "../fetch/tree-blobs.ts";

const TREE = { "a.txt": "a", "large.bin": noise(600_000), "b.txt": "b" };

interface Place {
  readonly depot: DirectoryDepot;
  /** Names of packs that were read of. */
  readonly read: string[];
  readonly publish: () => Promise<Published>;
  readonly pointTo: (tree: Published, packs: readonly Digest[]) => Promise<void>;
  /** A pack with one chunk of nobody's, and this list. */
  readonly strange: (file?: Digest) => Promise<Digest>;
}

/** A tree that was written a while ago, so that its files need not be read a second time. */
function place(t: TestContext): Place {
  const { dir, depot } = makeWorld(t);
  const source = writeTree(path.join(dir, "tree"), TREE);
  const read: string[] = [];
  const watched = {
    ...depot,
    get: (...args: Parameters<typeof depot.get>) => {
      if (args[0].startsWith("packs/")) read.push(args[0]);
      return depot.get(...args);
    },
  };
  const options = { depot: watched, previous: null, now: 0, signal: t.signal };
  return {
    depot,
    read,
    publish: async () =>
      await publish({ ...options, source: aged(plainSource(source)), cacheDir: path.join(dir, "cache") }),
    pointTo: async ({ tree }, packs) =>
      await depot.put(indexName(tree), bytesBlob(encodeIndex({ packs, deltas: [] })), t.signal),
    async strange(file) {
      const bytes = Buffer.from("nobody's");
      const chunk = { id: digestOf(bytes) as string as ChunkId, length: bytes.length };
      const frame = compress(bytes, 3);
      const lists = new Map(file === undefined ? [] : [[file, [chunk]] as const]);
      const pack = encodePack([{ length: frame.length, chunks: [chunk] }], frame, lists);
      await depot.put(packName(pack.id), piecesBlob(pack.pieces, pack.id), t.signal);
      return pack.id;
    },
  };
}

const packsOf = async (t: TestContext, { depot }: Place, { tree }: Published): Promise<readonly Digest[]> =>
  (await indexOf(depot, tree, t.signal))?.packs ?? [];

test("an index that leads to packs of somebody else is made anew, without reading the files again", async (t) => {
  const it = place(t);
  const tree = await it.publish();
  const before = await packsOf(t, it, tree);
  await it.pointTo(tree, [await it.strange()]);
  assert.equal((await it.publish()).filesRead, 0);
  assert.deepEqual(await packsOf(t, it, tree), before);
  await verifyTree([it.depot], tree, t.signal);
});

test("an index whose packs contradict each other about a file is made anew", async (t) => {
  const it = place(t);
  const tree = await it.publish();
  const liar = await it.strange(digestOf(TREE["large.bin"]));
  await it.pointTo(tree, [liar, ...(await packsOf(t, it, tree))]);
  await assert.rejects(verifyTree([it.depot], tree, t.signal), { code: "CHUNK_CORRUPT" });
  await it.publish();
  await verifyTree([it.depot], tree, t.signal);
});

test("an index that is as it was is not followed again, and another one that leads there is followed once", async (t) => {
  const it = place(t);
  const tree = await it.publish();
  await it.publish();
  assert.deepEqual(it.read, []);
  const packs = [...(await packsOf(t, it, tree)), await it.strange()];
  await it.pointTo(tree, packs);
  await it.publish();
  assert.deepEqual(new Set(it.read), new Set(packs.map(packName)));
  await it.publish();
  assert.equal(it.read.length, packs.length);
  assert.deepEqual(await packsOf(t, it, tree), packs);
});
