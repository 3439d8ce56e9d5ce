import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { directoryDepot } from "../../depot/directory/directory.ts";
import { publish, type Published } from "./publish.ts";
import { aged, noise, plainSource, tempDir, writeTree } from "../release.fixture.ts";

const TREE = {
  "a.txt": "a",
  "empty.txt": "",
  "lib/large.bin": noise(600_000),
  "lib/b.txt": "b",
  l: "l:a.txt",
};

interface Place {
  readonly source: string;
  /** Where the cache is to be. */
  readonly cache: string;
  /** The file that the cache is kept in. */
  readonly kept: () => string;
  readonly publish: () => Promise<Published>;
}

/** A tree that was written a while ago, as far as its files say. */
function place(t: TestContext): Place {
  const dir = tempDir(t);
  const source = writeTree(path.join(dir, "tree"), TREE);
  const cache = path.join(dir, "cache");
  const stat = path.join(cache, "stat");
  const options = {
    depot: directoryDepot(path.join(dir, "depot")),
    previous: null,
    now: 0,
    signal: t.signal,
  };
  return {
    source,
    cache,
    kept: () => path.join(stat, fs.readdirSync(stat)[0] ?? ""),
    publish: async () => await publish({ ...options, source: aged(plainSource(source)), cacheDir: cache }),
  };
}

test("what was cut once is not read again, in one chunk or in many", async (t) => {
  const { publish: run } = place(t);
  const first = await run();
  assert.equal(first.filesRead, 4);
  const again = await run();
  assert.deepEqual([again.filesRead, again.tree], [0, first.tree]);
});

test("a changed file is read again, and what the tree lacks is forgotten", async (t) => {
  const { source, kept, publish: run } = place(t);
  await run();
  fs.writeFileSync(path.join(source, "a.txt"), "other");
  fs.rmSync(path.join(source, "lib/b.txt"));
  const second = await run();
  assert.equal(second.filesRead, 1);
  assert.equal((await run()).filesRead, 0);
  assert.doesNotMatch(fs.readFileSync(kept(), "utf8"), /lib\/b\.txt/);
});

test("a file that went is forgotten also when nothing was read", async (t) => {
  const { source, kept, publish: run } = place(t);
  await run();
  fs.rmSync(path.join(source, "lib/b.txt"));
  assert.equal((await run()).filesRead, 0);
  assert.doesNotMatch(fs.readFileSync(kept(), "utf8"), /lib\/b\.txt/);
});

test("files that come, go and become folders leave the others known", async (t) => {
  const { source, publish: run } = place(t);
  await run();
  fs.writeFileSync(path.join(source, "A.txt"), "first");
  fs.writeFileSync(path.join(source, "ö.txt"), "last");
  fs.rmSync(path.join(source, "a.txt"));
  fs.mkdirSync(path.join(source, "a.txt"));
  fs.writeFileSync(path.join(source, "a.txt/inside"), "new");
  const second = await run();
  assert.equal(second.filesRead, 3);
  const third = await run();
  assert.deepEqual([third.filesRead, third.tree], [0, second.tree]);
});

test("what is known already is not written again", async (t) => {
  const { kept, publish: run } = place(t);
  await run();
  const { ino } = fs.statSync(kept());
  await run();
  assert.equal(fs.statSync(kept()).ino, ino);
});

test("a file that changed just before it was listed is not remembered", async (t) => {
  const { source } = place(t);
  const dir = tempDir(t);
  const depot = directoryDepot(path.join(dir, "depot"));
  const options = { depot, previous: null, now: 0, cacheDir: path.join(dir, "cache"), signal: t.signal };
  const later = new Date(Date.now() + 60_000);
  for (const file of ["a.txt", "lib/b.txt"]) fs.utimesSync(path.join(source, file), later, later);
  await publish({ ...options, source: plainSource(source) });
  assert.ok((await publish({ ...options, source: plainSource(source) })).filesRead >= 2);
});

test("a cache that cannot be written costs the reading only", async (t) => {
  const { cache, publish: run } = place(t);
  fs.writeFileSync(cache, "");
  const { tree } = await run();
  const again = await run();
  assert.deepEqual([again.filesRead, again.tree], [4, tree]);
});

test("a damaged cache, or one of another kind, costs the reading only", async (t) => {
  const { kept, publish: run } = place(t);
  const { tree } = await run();
  const text = fs.readFileSync(kept(), "utf8");
  const other = text.replace("skein-stat-3", "skein-stat-2");
  for (const damaged of [
    "",
    "[]",
    text.slice(0, -9),
    other,
    text.replaceAll("600000 ", "600001 "),
    `${text}\n`,
  ]) {
    fs.writeFileSync(kept(), damaged);
    const { filesRead, tree: again } = await run();
    assert.deepEqual([filesRead, again], [4, tree]);
  }
});

test("of very many sources and packs only so much is remembered, and what was used last stays", async (t) => {
  const { cache, kept, publish: run } = place(t);
  await run();
  const own = kept();
  for (const [folder, count] of [
    ["stat", 200],
    ["heads", 1200],
    ["led", 1200],
  ] as const) {
    fs.mkdirSync(path.join(cache, folder), { recursive: true });
    for (let n = 0; n < count; n++) {
      const file = path.join(cache, folder, String(n));
      fs.writeFileSync(file, "");
      fs.utimesSync(file, n + 1, n + 1);
    }
  }
  fs.utimesSync(own, 0, 0);
  const again = await run();
  assert.equal(again.filesRead, 0);
  assert.ok(fs.existsSync(own));
  const sizes = ["stat", "heads", "led"].map((folder) => fs.readdirSync(path.join(cache, folder)).length);
  assert.deepEqual(sizes, [32, 512, 512]);
});
