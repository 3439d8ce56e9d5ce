import assert from "node:assert/strict";
import test, { type TestContext } from "node:test";
import { buffer } from "node:stream/consumers";
import { Readable } from "node:stream";
import { directoryDepot } from "../../depot/directory/directory.ts";
import type { DepotReader } from "../../depot/seam/depot.ts";
import { tempDir } from "../../release/release.fixture.ts";
import { RecentBlobs } from "./recent-blobs.ts";

const PACK = `packs/${"a".repeat(64)}`;
const bytesOf = async (depot: DepotReader, name: string, t: TestContext, start = 0): Promise<string> =>
  (await buffer(Readable.from(depot.get(name, t.signal, { start })))).toString();

/** Over a depot that has none of it. */
function recentOf(t: TestContext, ...blobs: readonly [name: string, text: string][]): DepotReader {
  const recent = new RecentBlobs(directoryDepot(tempDir(t)));
  recent.keep(blobs.map(([name, text]) => ({ name, bytes: Buffer.from(text) })));
  return recent.trees;
}

test("what came with a release is read without the depot, by ranges too, and each reader has bytes of its own", async (t) => {
  const depot = recentOf(t, [PACK, "a pack"], [`rows/${"b".repeat(64)}`, "rows"]);
  assert.equal(await bytesOf(depot, PACK, t), "a pack");
  assert.equal(await bytesOf(depot, PACK, t, 2), "pack");
  for await (const piece of depot.get(PACK, t.signal)) piece.fill(0);
  assert.equal(await bytesOf(depot, PACK, t), "a pack");
});

test("an index is asked of the depot: it may have changed", async (t) => {
  const name = `index/${"c".repeat(64)}`;
  await assert.rejects(bytesOf(recentOf(t, [name, "an index"]), name, t), { code: "BLOB_MISSING" });
});

test("of more than there is room for the oldest goes", async (t) => {
  const names = [0, 1, 2].map((n) => `packs/${String(n).repeat(64)}`);
  const depot = recentOf(t, ...names.map((name): [string, string] => [name, name.padEnd(200_000)]));
  await assert.rejects(bytesOf(depot, names[0] ?? "", t), { code: "BLOB_MISSING" });
  for (const name of names.slice(1)) assert.equal((await bytesOf(depot, name, t)).trim(), name);
});
