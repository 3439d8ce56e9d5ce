import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { makeWorld, noise, readTree, tempDir } from "../release.fixture.ts";
import { digestOf, type ChunkId } from "../../lib/text/ids.ts";
import { MOST_CHUNKS } from "../tree/pack.ts";
import { readHeads } from "./catalogue.ts";
import { ContentReader } from "./content-reader.ts";
import { PackWriter } from "./pack-writer.ts";

test("a file whose first chunks are stored already keeps its content", async (t) => {
  const world = makeWorld(t);
  // It fits into a frame: it is read to where its new chunks belong, and those come after others that do not.
  const start = noise(300_000, 3);
  await world.publish({ old: start });
  const tree = { new: Buffer.concat([start, noise(200_000, 5), start]), small: "small", twice: start };
  const published = await world.publish(tree);
  assert.ok(published.newBytes > 200_000 && published.newBytes < 700_000, `${published.newBytes} are new`);
  const { dir } = await world.install(1, published);
  assert.deepEqual(readTree(dir), readTree(path.join(world.dir, "source-1")));
});

test("a file that went away since it was listed, or became a link, is told as one that changes", async (t) => {
  const dir = tempDir(t);
  const file = path.join(dir, "a");
  const entry = {
    kind: "f",
    path: "a",
    size: 1,
    content: { file, offset: 0 },
    stamp: null,
    changedMs: 0,
  } as const;
  const read = async () =>
    await new ContentReader().cut(
      entry,
      () => undefined,
      async () => undefined,
    );
  const refusal = { code: "TREE_REFUSED", hint: "Run it again when nothing writes there." };
  await assert.rejects(read(), refusal);
  fs.symlinkSync("b", file);
  await assert.rejects(read(), refusal);
});

test("a file whose list of chunks nobody could read is refused", async () => {
  const content = { file: "/nowhere", offset: 0 };
  const entry = { kind: "f", path: "model", size: 2 ** 36, content, stamp: null, changedMs: 0 } as const;
  const cut = async () =>
    await new ContentReader().cut(
      entry,
      () => undefined,
      async () => undefined,
    );
  await assert.rejects(cut(), { code: "TREE_REFUSED", hint: "Split it into files of up to 10 GiB." });
});

test("the list of a very large file has a head to itself where others leave it no room", async (t) => {
  const { depot } = makeWorld(t);
  const writer = new PackWriter(depot, { chunks: new Map(), lists: new Map() }, "quick");
  const lists = [49_000, MOST_CHUNKS, 30_000, 2].map((count, n) => {
    const chunk = { id: digestOf(String(n)) as string as ChunkId, length: 5 };
    return [digestOf(`file ${n}`), Array.from({ length: count }, () => chunk)] as const;
  });
  for (const [file, list] of lists) await writer.addList(file, list, t.signal);
  await writer.end(t.signal);
  const there = await readHeads(depot, writer.stored, null, t.signal);
  assert.deepEqual([...there.lists.keys()].toSorted(), lists.map(([file]) => file).toSorted());
});
