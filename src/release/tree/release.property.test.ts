import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import * as fc from "fast-check";
import { arrange } from "./arrange.ts";
import { cutAt, MAX_CHUNK, MIN_CHUNK } from "./gear.ts";
import { makeWorld, noise, readTree } from "../release.fixture.ts";
import { decodeRows, encodeRow, rereadRows, treeIdOf, type Row } from "./rows.ts";
import { eachSegment, decodeRoot, encodeRoot, SEGMENT_BOUND } from "./segments.ts";
import { decodeSince, encodeSince } from "./since.ts";
import { comparePaths, linkFault, pathFault } from "./tree-path.ts";

const part = fc
  .string({ unit: "grapheme", minLength: 1, maxLength: 12 })
  .filter((text) => !text.includes("/") && pathFault(text) === undefined && Buffer.byteLength(text) < 60);
const at = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/"));
const digest = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((bytes) => Buffer.from(bytes).toString("hex"));
const row: fc.Arbitrary<Row> = fc.oneof(
  fc.record({ kind: fc.constant("d" as const), path: at }, { noNullPrototype: true }),
  fc.record({ kind: fc.constant("l" as const), path: at, target: part }, { noNullPrototype: true }),
  fc.record(
    {
      kind: fc.constantFrom("f" as const, "x" as const),
      path: at,
      size: fc.maxSafeNat(),
      sha256: digest as fc.Arbitrary<never>,
    },
    { noNullPrototype: true },
  ),
);

test("rows come back from their encoding, and encode to the same bytes", () => {
  fc.assert(
    fc.property(fc.array(row, { maxLength: 50 }), (rows) => {
      const bytes = Buffer.from(rows.map(encodeRow).join(""));
      assert.deepEqual(decodeRows(bytes), rows);
      assert.deepEqual(rereadRows(bytes), rows);
    }),
  );
});

test("bytes that are no rows are refused, or encode to themselves", () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.tuple(row, fc.nat(), fc.nat(255)).map(([one, where, byte]) => {
      const encoded = Buffer.from(encodeRow(one));
      encoded[where % encoded.length] = byte;
      return encoded;
    }),
  );
  fc.assert(
    fc.property(bytes, (bytes) => {
      let rows: Row[];
      try {
        rows = decodeRows(bytes);
      } catch (err) {
        assert.equal((err as { code?: string }).code, "TREE_CORRUPT");
        return;
      }
      assert.deepEqual(Buffer.from(rows.map(encodeRow).join("")), Buffer.from(bytes));
    }),
  );
});

test("paths are ordered as their bytes are", () => {
  const text = fc.string({ unit: "binary" });
  fc.assert(
    fc.property(text, text, (a, b) => {
      assert.equal(Math.sign(comparePaths(a, b)), Buffer.compare(Buffer.from(a), Buffer.from(b)));
    }),
    { numRuns: 300 },
  );
});

test("segments hold the rows in order, within their bound, and a changed row changes one", () => {
  const rows = Array.from({ length: 4000 }, (_, i): Row => {
    const path = `node_modules/package-${Math.floor(i / 40)}/lib/file-${i}.js`;
    return { kind: "f", path, size: i, sha256: noise(32, i).toString("hex") as never };
  });
  const segments = [...eachSegment(rows)];
  assert.equal(treeIdOf(segments.map((s) => s.bytes)), treeIdOf([Buffer.from(rows.map(encodeRow).join(""))]));
  assert.ok(segments.every(({ bytes }) => bytes.length <= SEGMENT_BOUND));
  const average = segments.reduce((sum, { bytes }) => sum + bytes.length, 0) / segments.length;
  assert.ok(average > 10_000 && average < 24_000, `segments are ${average} bytes on average`);
  assert.deepEqual(
    decodeRoot(encodeRoot(segments)),
    segments.map(({ id, bytes }) => ({ id, length: bytes.length })),
  );
  const ids = new Set(segments.map(({ id }) => id));
  const added = (changed: readonly Row[]): number =>
    [...eachSegment(changed)].filter(({ id }) => !ids.has(id)).length;
  fc.assert(
    fc.property(fc.nat(rows.length - 1), (n) => {
      assert.equal(added(rows.with(n, { ...rows[n], size: 1, sha256: "0".repeat(64) } as Row)), 1);
    }),
    { numRuns: 30 },
  );
  // Each seventeenth row, and one of the four in these 4000 after which cuts find together late.
  const gone = [1807, ...rows.keys().filter((n) => n % 17 === 0)].map((n) => added(rows.toSpliced(n, 1)));
  assert.equal(gone.shift(), 5);
  assert.ok(Math.max(...gone) <= 2, String(gone));
});

test("tables of times come back", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 5 }).map((n) => n * 1_000_003)), (times) => {
      assert.deepEqual(decodeSince(encodeSince(times), times.length), times);
      assert.throws(() => decodeSince(encodeSince(times), times.length + 1), { code: "TREE_CORRUPT" });
    }),
  );
});

test("cuts keep their bounds, and an inserted byte moves only the cuts around it", () => {
  const cuts = (bytes: Buffer): Buffer[] => {
    const pieces: Buffer[] = [];
    for (let start = 0; start < bytes.length;) {
      const end = cutAt(bytes, start, bytes.length);
      pieces.push(bytes.subarray(start, end));
      start = end;
    }
    return pieces;
  };
  const bytes = noise(3_000_000, 77);
  const before = cuts(bytes);
  assert.ok(before.slice(0, -1).every(({ length }) => length >= MIN_CHUNK && length <= MAX_CHUNK));
  fc.assert(
    fc.property(fc.nat(bytes.length), (where) => {
      const after = cuts(Buffer.concat([bytes.subarray(0, where), Buffer.from([1]), bytes.subarray(where)]));
      const known = new Set(before.map((piece) => piece.toString("latin1")));
      const fresh = after.filter((piece) => !known.has(piece.toString("latin1")));
      assert.ok(fresh.reduce((sum, { length }) => sum + length, 0) <= 4 * MAX_CHUNK);
    }),
    { numRuns: 15 },
  );
});

test("links stay inside exactly when following them does", () => {
  const links = new Map([
    ["d/up", ".."],
    ["d/chain", "up/d/up"],
    ["loop/a", "b"],
    ["loop/b", "a"],
  ]);
  const fault = (at: string, target: string): boolean => linkFault(at, target, links) !== undefined;
  assert.equal(fault("x", "d/up"), false);
  assert.equal(fault("x", "d/up/.."), true);
  assert.equal(fault("x", "d/chain/d"), false);
  assert.equal(fault("x", "d/chain/../.."), true);
  assert.equal(fault("x", "loop/a"), false);
  assert.equal(fault("a/b", "../../c"), true);
  assert.equal(fault("a/b", "../c/./d/../e"), false);
  assert.equal(fault("x", "/etc"), true);
});

test("any tree comes back as it was, with an id that the order of reading does not change", async (t) => {
  const content = fc.oneof(
    fc.string().filter((text) => !text.startsWith("l:") && !text.startsWith("x:")),
    fc.string().map((text) => `x:${text}`),
    fc.nat(400_000).map((length) => noise(length + 10_000, length)),
    fc.constant(null),
  );
  const tree = fc
    .uniqueArray(fc.tuple(at, content), { selector: ([path]) => path, maxLength: 12 })
    .map((entries) => {
      // A path below a file cannot be made: such entries are left out.
      const files = entries.filter(([, what]) => what !== null).map(([path]) => `${path}/`);
      const kept = entries.filter(([path]) => !files.some((file) => path.startsWith(file)));
      return kept.filter(
        ([path, what]) => what === null || !kept.some(([other]) => other.startsWith(`${path}/`)),
      );
    });
  await fc.assert(
    fc.asyncProperty(tree, async (entries) => {
      const world = makeWorld(t);
      const one = await world.publish(Object.fromEntries(entries));
      const two = await world.publish(Object.fromEntries(entries.toReversed()), { now: 5 });
      assert.equal(one.tree, two.tree);
      assert.equal(one.rows, two.rows);
      assert.equal(two.storedBytes, 0);
      const { dir } = await world.install(1, one);
      assert.deepEqual(readTree(dir), readTree(path.join(world.dir, "source-0")));
      fs.rmSync(world.dir, { recursive: true });
    }),
    { numRuns: 25 },
  );
});

test("a tree is the same in whatever order its entries come, with or without its folders", () => {
  const paths = fc.uniqueArray(at, { maxLength: 30 });
  fc.assert(
    fc.property(paths, fc.infiniteStream(fc.nat()), (all, random) => {
      const files = all.filter((one) => !all.some((other) => other.startsWith(`${one}/`)));
      const sorted = arrange(files.map((path) => ({ kind: "l" as const, path, target: "x" })));
      const read = sorted.map((entry) => entry.path);
      assert.deepEqual(read, read.toSorted(comparePaths));
      const keys = new Map(sorted.map((entry) => [entry, random.next().value as number]));
      const shuffled = sorted.toSorted((a, b) => (keys.get(a) ?? 0) - (keys.get(b) ?? 0));
      for (const entries of [sorted, shuffled, shuffled.filter(({ kind }) => kind !== "d")])
        assert.deepEqual(arrange(entries), sorted);
    }),
  );
});

test("a tree's rules hold when it is made", () => {
  const refused = (...paths: string[]): void => {
    const entries = paths.map((path) => ({ kind: "d" as const, path }));
    assert.throws(() => arrange(entries), { code: "TREE_REFUSED" }, paths.join());
  };
  for (const bad of [
    "",
    "/a",
    "a/../b",
    ".",
    "a/.",
    "a\nb",
    "a\0b",
    "\ufffd",
    "\ud800",
    "a//b",
    "a/",
    ".skein",
  ]) {
    refused(bad);
  }
  const file = { kind: "l" as const, path: "a", target: "b" };
  assert.throws(() => arrange([file, file]), { code: "TREE_REFUSED" });
  assert.throws(() => arrange([file, { kind: "d", path: "a/b" }]), { code: "TREE_REFUSED" });
  assert.throws(() => arrange([{ ...file, target: "/b" }]), { code: "TREE_REFUSED", message: /absolute/ });
});
