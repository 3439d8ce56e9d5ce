import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { noise, type Tree } from "../release.fixture.ts";
import { plainName } from "./alike-names.ts";
import { deltaBetween, follow, treeId, treeOnDisk } from "./delta.fixture.ts";
import { encodeInWorkers } from "./encode-workers.ts";
import { packFrame } from "./zstd.ts";

/** The delta's bytes, once it was seen to lead to the newer tree and its times. */
async function deltaOf(t: TestContext, before: Tree, after: Tree): Promise<number> {
  const from = treeOnDisk(t, before, 1_700_000_000_000);
  const to = treeOnDisk(t, after, 1_700_000_100_000, from);
  const delta = await deltaBetween(from, to);
  const got = await follow(from, delta, t.signal);
  assert.equal(treeId(got), treeId(to.state));
  assert.deepEqual(got.times, to.state.times);
  return delta.length;
}

/** Text as programs are: lines of words that repeat. */
function text(lines: number, seed: number): string {
  const random = noise(lines * 4, seed);
  const words = ["const", "return", "value", "function", "import", "release", "chunk", "if"];
  let out = "";
  for (let i = 0; i < lines; i++) {
    const word = (k: number): string => words[(random[4 * i + k] ?? 0) % words.length] ?? "";
    out += `${word(0)} ${word(1)}${random.readUInt16LE(4 * i)} = ${word(2)}(${word(3)}, ${i * seed});\n`;
  }
  return out;
}

/** What a linker does to a program when a function in it grows: what follows moves, and so do addresses of it. */
function relinked(program: Buffer, at: number, by: Buffer): Buffer {
  const moved = Buffer.concat([program.subarray(0, at), by, program.subarray(at)]);
  for (let i = 40; i + 4 < moved.length; i += 400) {
    const address = moved.readUInt32LE(i);
    if (address > at) moved.writeUInt32LE((address + by.length) >>> 0, i);
  }
  return moved;
}

test("trees of every kind of row arrive", async (t) => {
  const before: Tree = {
    "a/b.txt": "one",
    "a/run.sh": "x:#!/bin/sh",
    link: "l:a/b.txt",
    gone: "g",
    empty: "",
  };
  const after: Tree = {
    "a/b.txt": "x:one",
    "a/run.sh": "#!/bin/sh",
    link: "l:a",
    "gone/now-a-folder": "",
    empty: "no more",
    folder: null,
    "ünï/名.txt": "one",
    "ünï/名字.txt": "no more",
  };
  await deltaOf(t, before, after);
  await deltaOf(t, after, before);
  await deltaOf(t, {}, after);
  await deltaOf(t, after, {});
});

test("a tree that did not change costs a few bytes", async (t) => {
  const tree = { "a/b": noise(100_000), c: "c" };
  assert.ok((await deltaOf(t, tree, tree)) < 24);
});

test("a byte in a large file costs a few bytes", async (t) => {
  const before = noise(3_000_000);
  const after = Buffer.from(before);
  after[2_000_000] = (after[2_000_000] ?? 0) ^ 1;
  const size = await deltaOf(t, { big: before }, { big: after });
  assert.ok(size < 64, `${size} bytes`);
});

test("a program that was linked anew costs far less than what moved", async (t) => {
  const before = noise(3_000_000);
  for (let i = 40; i + 4 < before.length; i += 400) before.writeUInt32LE((i * 7919) % before.length, i);
  const after = relinked(before, 1_000_000, noise(5000, 9));
  const size = await deltaOf(t, { bin: before }, { bin: after });
  assert.ok(size < 40_000, `${size} bytes`);
});

test("moved files cost their names, not their bytes nor a hash each", async (t) => {
  const before: Record<string, string> = {};
  const after: Record<string, string> = {};
  const names = 300;
  for (let i = 0; i < names; i++) {
    before[`src/part-${i}/file.js`] = randomBytes(40).toString("hex");
    after[`lib/inner/part-${i}/file.js`] = before[`src/part-${i}/file.js`] ?? "";
  }
  const size = await deltaOf(t, before, after);
  assert.ok(size < names * 8, `${size} bytes for ${names} moved files`);
});

test("a file under a new name with another hash in it is sent as a difference", async (t) => {
  const bundle = text(4000, 3);
  const other = text(4000, 5);
  const size = await deltaOf(
    t,
    { "assets/index-Bx3k2a9Q.js": bundle, "assets/vendor-aB3dE5fG.js": other },
    {
      "assets/index-Zz91kLmn.js": bundle.replace("release", "rollout"),
      "assets/vendor-Qq3dE5fH.js": `${other}//`,
    },
  );
  assert.ok(size < 400, `${size} bytes`);
});

test("a file that resembles one that went away is found by what it holds", async (t) => {
  const before: Tree = Object.fromEntries(
    Array.from({ length: 12 }, (_, i) => [`a/old${i}.js`, text(800, i + 7)]),
  );
  const after = { "b/quite/another.js": `${text(800, 12)}// and more\n` };
  const size = await deltaOf(t, before, after);
  assert.ok(size < 700, `${size} bytes`);
});

test("a file that resembles several is made from them", async (t) => {
  const [one, two] = [text(1500, 11), text(1500, 13)];
  const size = await deltaOf(
    t,
    { "js/a-1a2b3c4d.js": one, "js/b-1a2b3c4e.js": two },
    { "js/c-99aa88bb.js": one + two },
  );
  assert.ok(size < 400, `${size} bytes`);
});

test("a small file that changed in every line is made with the old one as a dictionary", async (t) => {
  const before = text(1500, 29);
  const after = before.replaceAll("const", "let").replaceAll("release", "rel").replaceAll("(", "( ");
  const size = await deltaOf(t, { "a.js": before }, { "a.js": after });
  const alone = packFrame(Buffer.from(after), 19).length;
  assert.ok(size < 0.75 * alone, `${size} bytes, ${alone} alone`);
});

test("a new file that is like nothing costs no more than compressed alone", async (t) => {
  const fresh = Buffer.from(text(3000, 17));
  const size = await deltaOf(t, { "a.js": text(3000, 19) }, { "a.js": text(3000, 19), "b.js": fresh });
  assert.ok(size < packFrame(fresh, 19).length + 64, `${size} bytes`);
});

test("many tiny files are compressed together", async (t) => {
  const after: Record<string, string> = {};
  let alone = 0;
  for (let i = 0; i < 200; i++) {
    const content = `export const name${i} = "the same words in every file";\n`;
    after[`many/file${i}.js`] = content;
    alone += packFrame(Buffer.from(content), 19).length;
  }
  const size = await deltaOf(t, {}, after);
  assert.ok(size < alone / 5, `${size} bytes, ${alone} alone`);
});

test("contents of many blocks arrive", async (t) => {
  const base = noise(2_500_000, 3);
  const edited = Buffer.from(base);
  for (let i = 0; i < edited.length; i += 90) edited[i] = (edited[i] ?? 0) + 1;
  const after = { "a.bin": edited, "b.bin": noise(2_500_000, 77), "c.bin": noise(300_000, 78) };
  await deltaOf(t, { "a.bin": base, "c.bin": noise(300_000, 79) }, after);
});

test("threads encode the same bytes", async (t) => {
  const bases = [noise(3_000_000, 3), noise(2_500_000, 4)];
  const edit = (bytes: Buffer): Buffer =>
    Buffer.concat([bytes.subarray(0, 70_000), noise(99, 7), bytes.subarray(71_000)]);
  const from = treeOnDisk(t, { a: bases[0] ?? "", b: bases[1] ?? "", c: text(900, 3) }, 1000);
  const after = {
    a: edit(bases[0] as Buffer),
    b: edit(bases[1] as Buffer),
    c: text(901, 3),
    d: noise(1_500_000, 9),
  };
  const to = treeOnDisk(t, after, 2000, from);
  assert.deepEqual(await deltaBetween(from, to, encodeInWorkers), await deltaBetween(from, to));
});

test("a file that goes away while threads encode is told", async (t) => {
  const from = treeOnDisk(t, { a: noise(3_000_000, 3) }, 1000);
  const to = treeOnDisk(t, { a: noise(3_000_000, 4) }, 2000, from);
  fs.rmSync(path.join(from.dir, "a"));
  await assert.rejects(deltaBetween(from, to, encodeInWorkers), { code: "IO" });
});

test("names are recognised by what is not a hash in them", () => {
  const alike = [
    ["assets/index-Bx3k2.js", "assets/index-Zz91k.js"],
    ["static/chunks/4f3a9c2b11d0.js", "static/chunks/99aa88bb77cc.js"],
    ["main.a1b2c3d4e5.css", "main.ffee99887766.css"],
    [
      "_next/static/aBcDeFgHiJkLmNoPqRsTu/_buildManifest.js",
      "_next/static/Zx9DeFgHiJkLmNoPqRsTu/_buildManifest.js",
    ],
    ["assets/logo-DiwrgTda.svg", "assets/logo-C_x-9a1z.svg"],
  ] as const;
  for (const [a, b] of alike) assert.equal(plainName(a), plainName(b));
  assert.notEqual(plainName("src/index.js"), plainName("src/main.js"));
});
