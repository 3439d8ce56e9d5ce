import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { folderFiles } from "../../bucket/files.ts";
import { writeTree, type Tree } from "../../release/release.fixture.ts";
import { bucketWorld } from "./bucket-world.fixture.ts";
import { importFtl } from "./import-ftl.ts";
import { masterRevisions } from "./master.ts";
import { markedRevision, oldRevisions } from "./old-ftl.ts";

test("names in an FTL bucket tell of packages, revisions and times", () => {
  const found = oldRevisions([
    "my_site.2014061252143ab.tar.gz",
    "my_site.2014061200001zz.tgz",
    "my_site.2014061299999xx",
    "my_site.rev",
    "my_site.current",
    "my_site.previous",
    "tool.054aR4G0L",
    "tool.054bR4~_~",
    "old.201303057568Wq.tgz",
    "old.2013030612_~.1.0-beta_2.tar.gz",
    "old.123456789.tgz",
    "old.20261128031502917-3f9c2ab1.tar.gz",
    "readme",
    "123.abc.tgz",
    ".hidden",
    "root.json",
  ]);
  assert.deepEqual([...found.keys()].sort(), ["my_site", "old", "tool"]);
  assert.deepEqual(
    found.get("my_site")?.map(({ revision, madeMs }) => [revision, madeMs]),
    [
      ["2014061299999xx", null],
      ["2014061200001zz", Date.parse("2014-06-12T00:00:01Z")],
      ["2014061252143ab", Date.parse("2014-06-12T14:29:03Z")],
    ],
  );
  assert.deepEqual(
    found.get("tool")?.map(({ revision, madeMs }) => [revision, madeMs]),
    [
      ["054aR4G0L", Date.parse("2013-02-21T00:37:24Z")],
      ["054bR4~_~", Date.parse("2013-02-21T18:49:51Z")],
    ],
  );
  assert.deepEqual(
    found.get("old")?.map(({ revision, madeMs }) => [revision, madeMs]),
    [
      ["123456789", null],
      ["201303057568Wq", Date.parse("2013-03-05T02:06:08Z")],
      ["2013030612_~", Date.parse("2013-03-06T00:00:12Z")],
    ],
  );
});

test("a mark names its revision with the package or without", () => {
  assert.equal(markedRevision("a", "a.123\n"), "123");
  assert.equal(markedRevision("a", "123"), "123");
  assert.equal(markedRevision("a", "a.123.tar.gz"), "123");
  assert.equal(markedRevision("a+", "a+.123"), "123");
  assert.equal(markedRevision("a", " \n"), undefined);
});

test("an FTL bucket is taken over: revisions in their order, what was active, and what was before", async (t) => {
  const world = await bucketWorld(t);
  const dir = path.join(world.dir, "old");
  mkdirSync(dir);
  const pack = async (file: string, tree: Tree): Promise<void> => {
    const from = writeTree(path.join(world.dir, "trees", file), tree);
    await promisify(execFile)("tar", ["-czf", path.join(dir, file), "-C", from, ...Object.keys(tree)]);
  };
  await pack("my_site.2014061252143ab.tar.gz", { version: "two", "post-jump.sh": "true" });
  await pack("my_site.2014061200001zz.tar.gz", { version: "one" });
  await pack("my_site.2014061300001zz.tar.gz", { version: "three" });
  writeFileSync(path.join(dir, "my_site.2014061400001zz.tar.gz"), Buffer.from([0x1f, 0x8b, 8, 0, 1, 2, 3]));
  writeFileSync(path.join(dir, "my_site.current"), "my_site.2014061252143ab");
  writeFileSync(path.join(dir, "my_site.previous"), "my_site.2014061200001zz");
  writeFileSync(path.join(dir, "tool.054aR4G0L"), "just a file");
  writeFileSync(path.join(dir, "tool.rev"), "tool.054aR4G0L\n");
  const operator = await world.operator();
  const told: string[] = [];
  const options = {
    packages: [],
    env: "default",
    onImported: (one: { from: string }) => told.push(one.from),
    signal: t.signal,
  };
  const first = await importFtl(operator, folderFiles(dir), options);
  assert.deepEqual(
    first.map(({ from, to, active }) => [from, to !== null, active]),
    [
      ["my_site.2014061200001zz", true, false],
      ["my_site.2014061252143ab", true, true],
      ["my_site.2014061300001zz", true, false],
      ["my_site.2014061400001zz", false, false],
      ["tool.054aR4G0L", true, true],
    ].sort((a, b) => (String(a[0]) < String(b[0]) ? -1 : 1)),
  );
  assert.equal(told.length, first.length);
  assert.match(first[1]?.to ?? "", /^my_site\.20140612142903000-[0-9a-f]{8}$/);
  const machine = world.machine("m", ["my_site", "tool"]);
  await machine.sync();
  const read = (file: string): string => readFileSync(path.join(machine.root, file), "utf8");
  assert.equal(read("my_site/current/version"), "two");
  assert.equal(read("tool/current/tool.054aR4G0L"), "just a file");
  const seen = async () =>
    (await masterRevisions("my-site", { ...operator, env: "default", signal: t.signal })).map(
      ({ state }) => state,
    );
  assert.deepEqual(await seen(), ["previous", "active", null]);
  const again = await importFtl(operator, folderFiles(dir), options);
  assert.deepEqual(
    again.map(({ to }) => to),
    first.map(({ to }) => to),
  );
  assert.deepEqual(await seen(), ["previous", "active", null]);
  await assert.rejects(importFtl(operator, folderFiles(dir), { ...options, packages: ["none"] }), {
    code: "NOT_FOUND",
  });
});

test("an import that was cut off between its two orders goes on, and one of a package that went on says so", async (t) => {
  const world = await bucketWorld(t);
  const dir = path.join(world.dir, "old");
  mkdirSync(dir);
  for (const [file, text] of [
    ["tool.054aR4G0L", "one"],
    ["tool.054bR4~_~", "two"],
    ["tool.rev", "tool.054aR4G0L"],
  ] as const)
    writeFileSync(path.join(dir, file), text);
  const files = folderFiles(dir);
  const run = async () => {
    const options = { packages: [], env: "default", onImported: () => undefined, signal: t.signal };
    return await importFtl(await world.operator(), files, options);
  };
  const activeOf = (all: Awaited<ReturnType<typeof run>>) => all.map(({ active }) => active);
  assert.deepEqual(activeOf(await run()), [true, false]);
  writeFileSync(path.join(dir, "tool.rev"), "tool.054bR4~_~");
  writeFileSync(path.join(dir, "tool.previous"), "tool.054aR4G0L");
  assert.deepEqual(activeOf(await run()), [false, true]);
  const machine = world.machine("m", ["tool"]);
  await machine.sync();
  assert.equal(readFileSync(path.join(machine.root, "tool/current/tool.054bR4~_~"), "utf8"), "two");
  await world.jumpBack("tool");
  assert.deepEqual(activeOf(await run()), [false, false], "something else was ordered since");
});
