import assert from "node:assert/strict";
import path from "node:path";
import test, { type TestContext } from "node:test";
import * as fc from "fast-check";
import { directoryDepot, type DirectoryDepot } from "../../depot/directory/directory.ts";
import type { Depot } from "../../depot/seam/depot.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";
import { digestOf, type Digest } from "../../lib/text/ids.ts";
import type { Envelope } from "../../trust/document/envelope.ts";
import { bytesBlob, readBlob } from "../fetch/blobs.ts";
import { install } from "../install/install.ts";
import { publish, type Published } from "../publish/publish.ts";
import {
  noise,
  plainSource,
  readTree,
  releaseId,
  tempDir,
  writeTree,
  type Tree,
} from "../release.fixture.ts";
import { chunksOf, decodeHead, encodePack, headLength, packName } from "../tree/pack.ts";
import { decodeExport, encodeExport, type ExportHead } from "./export-file.ts";
import { gatherExport, keepImport } from "./export-release.ts";

/** A document whose signature nobody looks at here. */
const DOCUMENT: Envelope = { t: "release.1", p: "e30", s: [] };
const BIG = noise(700_000, 5);
const TREE: Tree = {
  "a/b.txt": "hello",
  empty: "",
  big: BIG,
  again: BIG,
  link: "l:a/b.txt",
  "x.sh": "x:#!/bin/sh",
};
const NEXT: Tree = { ...TREE, "a/b.txt": "hello again", more: noise(12_000, 6) };

interface World {
  readonly folder: string;
  readonly source: DirectoryDepot;
  readonly target: DirectoryDepot;
  publish(name: string, tree: Tree): Promise<Published>;
  /** The bytes of a file with this release. */
  export(tree: Published, from?: Published): Promise<Buffer>;
  import(tree: Published, file: Uint8Array): Promise<boolean>;
}

let folders = 0;

function makeWorld(t: TestContext): World {
  const folder = tempDir(t);
  const source = directoryDepot(path.join(folder, "source"));
  const target = directoryDepot(path.join(folder, "target"));
  const fresh = (): DirectoryDepot => directoryDepot(path.join(folder, `staging-${(folders += 1)}`));
  const { signal } = t;
  return {
    folder,
    source,
    target,
    async publish(name, tree) {
      const dir = writeTree(path.join(folder, name), tree);
      const options = { depot: source, previous: null, now: 1e12, cacheDir: null, signal };
      return await publish({ source: plainSource(dir), ...options });
    },
    async export(tree, from) {
      const staging = fresh();
      const base = from === undefined ? null : { release: releaseId(7), tree: from.tree };
      const options = { tree, from: base?.tree ?? null, depot: source, staging, signal };
      const blobs = await gatherExport(options);
      const head: ExportHead = { charters: [DOCUMENT], release: DOCUMENT, from: base, blobs };
      return Buffer.concat(await Array.fromAsync(encodeExport(head, staging, signal)));
    },
    async import(tree, file) {
      const staging = fresh();
      const head = await decodeExport(pieces(file), staging, async () => await Promise.resolve(), signal);
      return await keepImport({ tree, head, staging, depot: target, signal });
    },
  };
}

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  for (let at = 0; at < bytes.length; at += 40_000)
    yield await Promise.resolve(bytes.subarray(at, at + 40_000));
}

async function assertInstalls(t: TestContext, world: World, tree: Published, expected: Tree): Promise<void> {
  const revs = path.join(world.folder, `revs-${(folders += 1)}`);
  const options = { release: releaseId(1), tree, revs, link: false, signal: t.signal };
  const { dir } = await install({ ...options, depots: [world.target] });
  const found = readTree(dir);
  for (const [at, content] of Object.entries(expected)) assert.deepEqual(found[at], content, at);
}

test("a release goes through a file into an empty depot, and only what it needs", async (t) => {
  const world = makeWorld(t);
  await world.publish("other", { other: noise(2_000_000, 9) });
  const tree = await world.publish("tree", TREE);
  const file = await world.export(tree);
  assert.ok(file.length < 1_000_000, `${file.length} bytes`);
  assert.equal(await world.import(tree, file), true);
  await assertInstalls(t, world, tree, TREE);
  assert.equal(await world.import(tree, file), false);
});

test("with an earlier release there, a file holds what changed, however that one came there", async (t) => {
  const world = makeWorld(t);
  const before = await world.publish("before", TREE);
  const next = await world.publish("next", NEXT);
  const file = await world.export(next, before);
  assert.ok(file.length < 30_000, `${file.length} bytes`);
  const named = new RegExp(`builds on release ${releaseId(7).slice(0, 8)}: .* does not have it`);
  await assert.rejects(world.import(next, file), { code: "EXPORT_NEEDS", message: named });
  assert.deepEqual(await Array.fromAsync(world.target.list("", t.signal)), []);
  await world.import(before, await world.export(before));
  assert.equal(await world.import(next, file), true);
  await assertInstalls(t, world, next, NEXT);
  await assertInstalls(t, world, before, TREE);
});

test("a depot whose packs were lost has them again from a file, whatever its indexes say", async (t) => {
  const world = makeWorld(t);
  const before = await world.publish("before", TREE);
  const next = await world.publish("next", NEXT);
  const { source, target } = world;
  for await (const name of source.list("", t.signal)) {
    if (!name.startsWith("packs/"))
      await target.put(name, bytesBlob(await readBlob(source, name, 1e6, t.signal)), t.signal);
  }
  const file = await world.export(next, before);
  const lacking = { code: "EXPORT_NEEDS", message: /lacks chunks of it: .*packs\// };
  await assert.rejects(world.import(next, file), lacking);
  assert.equal(await world.import(before, await world.export(before)), true);
  assert.equal(await world.import(next, file), true);
  await assertInstalls(t, world, before, TREE);
  await assertInstalls(t, world, next, NEXT);
});

test("a file of another release, or one that lacks something, is refused and nothing kept", async (t) => {
  const world = makeWorld(t);
  const [one, two] = [await world.publish("one", TREE), await world.publish("two", NEXT)];
  await assert.rejects(world.import(two, await world.export(one)), { code: "EXPORT_DAMAGED" });
  assert.deepEqual(await Array.fromAsync(world.target.list("", t.signal)), []);
});

test("a file takes nothing of other releases' place: it holds what its own release needs, and no more", async (t) => {
  const world = makeWorld(t);
  const [one, two] = [await world.publish("one", TREE), await world.publish("two", { other: BIG })];
  const own = await blobsOf(t, await world.export(one));
  const other = await blobsOf(t, await world.export(two));
  const pack = other.find(({ name }) => name.startsWith("packs/"))!;
  const ownPack = own.find(({ name }) => name.startsWith("packs/"))!;
  const bad = [
    // What is in these is all of the release's own: another pack's name, and another file's list, are not.
    { name: pack.name, bytes: ownPack.bytes },
    withList(ownPack.bytes, digestOf("another file")),
    { name: `index/${two.tree}`, bytes: Buffer.from("skein-index-1\n") },
    { name: pack.name, bytes: Buffer.from("other bytes than its name says") },
    { name: `rows/${two.rows}`, bytes: Buffer.from("0000") },
    pack,
  ];
  for (const blob of bad) {
    await assert.rejects(world.import(one, fileOf([...own, blob])), { code: "EXPORT_DAMAGED" }, blob.name);
    assert.deepEqual(await Array.fromAsync(world.target.list("", t.signal)), []);
  }
  // Good tables that are there already do not stand in for the file's bad ones.
  for (const { name, bytes } of own.filter((blob) => blob.name === `rows/${one.rows}`)) {
    await world.target.put(name, bytesBlob(bytes), t.signal);
    const worse = own.map((blob) => (blob.name === name ? { name, bytes: Buffer.from("bad") } : blob));
    await assert.rejects(world.import(one, fileOf(worse)), { code: "EXPORT_DAMAGED" });
    assert.deepEqual(await Array.fromAsync(world.target.list("", t.signal)), [name]);
  }
  assert.equal(await world.import(one, fileOf(own)), true);
  await assertInstalls(t, world, one, TREE);
});

test("the index comes last: until then nobody finds what is there in part", async (t) => {
  const world = makeWorld(t);
  const tree = await world.publish("tree", TREE);
  const staging = directoryDepot(path.join(world.folder, "arrived"));
  const accept = async (): Promise<void> => await Promise.resolve();
  const head = await decodeExport(pieces(await world.export(tree)), staging, accept, t.signal);
  const names: string[] = [];
  const depot: Depot = {
    ...world.target,
    put: async (name, blob, signal) => {
      names.push(name);
      await world.target.put(name, blob, signal);
    },
  };
  assert.equal(await keepImport({ tree, head, staging, depot, signal: t.signal }), true);
  assert.equal(names.indexOf(`index/${tree.tree}`), head.blobs.length - 1);
  assert.equal(names.length, head.blobs.length);
});

test("a file that builds on a release takes no good table's place with a bad one", async (t) => {
  const world = makeWorld(t);
  const [before, next] = [await world.publish("before", TREE), await world.publish("next", NEXT)];
  await world.import(before, await world.export(before));
  const own = await blobsOf(t, await world.export(next, before));
  const from = { release: releaseId(7), tree: before.tree };
  for (const name of [`rows/${next.rows}`, `since/${next.since}`]) {
    const good = own.find((blob) => blob.name === name)?.bytes as Buffer;
    await world.target.put(name, bytesBlob(good), t.signal);
    const worse = own.map((blob) => (blob.name === name ? { name, bytes: Buffer.from("bad") } : blob));
    await assert.rejects(world.import(next, fileOf(worse, from)), { code: "EXPORT_DAMAGED" }, name);
    assert.deepEqual(await readBlob(world.target, name, 1e6, t.signal), good);
  }
  assert.equal(await world.import(next, fileOf(own, from)), true);
});

interface Blob {
  readonly name: string;
  readonly bytes: Buffer;
}

/** What a file holds. */
async function blobsOf(t: TestContext, file: Uint8Array): Promise<Blob[]> {
  const staging = directoryDepot(tempDir(t));
  await decodeExport(pieces(file), staging, async () => await Promise.resolve(), t.signal);
  const names = await Array.fromAsync(staging.list("", t.signal));
  const read = async (name: string): Promise<Buffer> =>
    Buffer.concat(await Array.fromAsync(staging.get(name, t.signal)));
  return await Promise.all(names.map(async (name) => ({ name, bytes: await read(name) })));
}

/** The same pack, which says of a file that it is made of a part of what is in it. */
function withList(bytes: Buffer, file: Digest): Blob {
  const start = headLength(bytes);
  const { frames, lists } = decodeHead(bytes.subarray(0, start));
  const packed = frames.map((frame) => ({ length: frame.length, chunks: chunksOf(frame) }));
  const [list = []] = lists.values();
  const pack = encodePack(packed, bytes.subarray(start), new Map([...lists, [file, list.slice(0, 2)]]));
  return { name: packName(pack.id), bytes: Buffer.concat(pack.pieces) };
}

/** A file of these, as somebody may make one. */
function fileOf(own: readonly Blob[], from: ExportHead["from"] = null): Buffer {
  const blobs = own.map(({ name, bytes }) => ({ name, size: bytes.length, sha256: digestOf(bytes) }));
  return Buffer.concat([fileWith(blobs, from), ...own.map(({ bytes }) => bytes)]);
}

function fileWith(blobs: readonly object[], from: ExportHead["from"] = null): Buffer {
  const head = Buffer.from(JSON.stringify({ charters: [DOCUMENT], release: DOCUMENT, from, blobs }));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(head.length);
  return Buffer.concat([Buffer.from("skein-export-1\n"), length, head]);
}

test("whatever byte is changed, and wherever it is cut, a file is refused or brings the release", async (t) => {
  const world = makeWorld(t);
  const small: Tree = { a: noise(3000, 1), b: "text", c: noise(300_000, 2) };
  const tree = await world.publish("tree", small);
  const file = await world.export(tree);
  const place = fc.nat({ max: file.length - 1 });
  await fc.assert(
    fc.asyncProperty(place, fc.integer({ min: 1, max: 255 }), fc.boolean(), async (at, change, cut) => {
      const bad = cut ? file.subarray(0, at) : Buffer.from(file);
      if (!cut) bad[at] = (bad[at] ?? 0) ^ change;
      const outcome = await world.import(tree, bad).catch((err: unknown) => err);
      if (outcome === true || outcome === false) {
        assert.equal(cut, false);
        return;
      }
      assert.ok(isSkeinError(outcome, "EXPORT_DAMAGED", "EXPORT_NEEDS"), String(outcome));
      assert.deepEqual(await Array.fromAsync(world.target.list("", t.signal)), []);
    }),
    { numRuns: 60 },
  );
});

test("a head that lists what is no release's blob, or one twice, is refused before any byte of them", async (t) => {
  const world = makeWorld(t);
  const blob = { name: `packs/${"0".repeat(64)}`, size: 1, sha256: "0".repeat(64) };
  for (const blobs of [
    [{ ...blob, name: "root.json" }],
    [{ ...blob, name: "../x" }],
    [blob, blob],
    [{ ...blob, size: -1 }],
  ]) {
    const file = Buffer.concat([fileWith(blobs), Buffer.from("x")]);
    const accept = async (): Promise<never> => await Promise.reject(new Error("accepted"));
    await assert.rejects(decodeExport(pieces(file), world.target, accept, t.signal), {
      code: "EXPORT_DAMAGED",
    });
  }
});

test("a file that goes on after its end is refused, and so is a head that announces too much, before it is read", async (t) => {
  const world = makeWorld(t);
  const tree = await world.publish("tree", TREE);
  const file = await world.export(tree);
  const longer = Buffer.concat([file, Buffer.from("x")]);
  await assert.rejects(world.import(tree, longer), { code: "EXPORT_DAMAGED", message: /after its end/ });
  assert.deepEqual(await Array.fromAsync(world.target.list("", t.signal)), []);

  const length = Buffer.alloc(4);
  length.writeUInt32LE(64 * 2 ** 20 + 1);
  let read = 0;
  const endless = async function* (): AsyncGenerator<Uint8Array, void> {
    yield await Promise.resolve(Buffer.concat([Buffer.from("skein-export-1\n"), length]));
    for (; read < 100; read++) yield Buffer.alloc(2 ** 20);
  };
  const accept = async (): Promise<void> => await Promise.resolve();
  await assert.rejects(decodeExport(endless(), world.target, accept, t.signal), {
    code: "EXPORT_DAMAGED",
    message: /longer than it may be/,
  });
  assert.equal(read, 0);
});

test("a blob that is not as long any more as the head says ends the export", async (t) => {
  const world = makeWorld(t);
  const name = `packs/${digestOf("one")}`;
  await world.source.put(name, bytesBlob(Buffer.from("one")), t.signal);
  const blobs = [{ name, size: 4, sha256: digestOf("one") }];
  const head: ExportHead = { charters: [DOCUMENT], release: DOCUMENT, from: null, blobs };
  await assert.rejects(Array.fromAsync(encodeExport(head, world.source, t.signal)), {
    code: "CHUNK_CORRUPT",
  });
});
