import assert from "node:assert/strict";
import { test } from "node:test";
import type { ChunkId, Digest } from "../../lib/text/ids.ts";
import { indexOf } from "../fetch/tree-blobs.ts";
import { makeWorld } from "../release.fixture.ts";
import { readCatalogue } from "./catalogue.ts";

const PACKS = 30;
/** As many heads are read at once. */
const AT_ONCE = 8;

test("of a depot with very many chunks so many are known as memory bears, and those of the release before", async (t) => {
  const world = makeWorld(t);
  const { depot } = world;
  const packs = new Set<Digest>();
  for (let n = 0; n < PACKS; n++) {
    const { tree } = await world.publish({ "a.txt": `content ${n}` });
    for (const pack of (await indexOf(depot, tree, t.signal))?.packs ?? []) packs.add(pack);
  }
  assert.equal(packs.size, PACKS);
  const packsIn = (chunks: ReadonlyMap<ChunkId, Digest>): Set<Digest> => new Set(chunks.values());
  const all = await readCatalogue(depot, [], null, t.signal);
  assert.equal(packsIn(all.chunks).size, PACKS);
  const before = [...packs].toSorted().slice(-12);
  const some = packsIn((await readCatalogue(depot, before, null, t.signal, 10)).chunks);
  assert.ok(before.every((pack) => some.has(pack)));
  assert.ok(some.size < before.length + AT_ONCE, `${some.size} packs`);
});
