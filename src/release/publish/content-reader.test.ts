import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { makeWorld, noise, readTree, tempDir } from "../release.fixture.ts";
import { ContentReader } from "./content-reader.ts";

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
