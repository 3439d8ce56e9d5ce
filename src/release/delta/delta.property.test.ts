import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { isDeepStrictEqual } from "node:util";
import * as fc from "fast-check";
import { isSkeinError } from "../../lib/errors/errors.ts";
import { noise, type Tree } from "../release.fixture.ts";
import { deltaBetween, follow, HashingSink, treeId, treeOnDisk } from "./delta.fixture.ts";
import { applyDelta } from "./apply-delta.ts";

const names = fc.constantFrom("a", "b.js", "c-1a2b3c4d.js", "c-9f8e7d6c.js", "d", "é.txt", "🧵.bin");
const paths = fc.array(names, { minLength: 1, maxLength: 3 }).map((parts) => parts.join("/"));
const contents = fc.record({
  size: fc.oneof(fc.nat(40), fc.nat(5000), fc.nat(60_000)),
  seed: fc.integer({ min: 1, max: 6 }),
  /** Where bytes are put in, taken out or changed, as a share of the size. */
  edits: fc.array(
    fc.record({ at: fc.double({ min: 0, max: 1, noNaN: true }), by: fc.integer({ min: -90, max: 90 }) }),
    {
      maxLength: 4,
    },
  ),
  isExecutable: fc.boolean(),
});

function contentOf({
  size,
  seed,
  edits,
}: {
  size: number;
  seed: number;
  edits: { at: number; by: number }[];
}): Buffer {
  let bytes = noise(size, seed);
  for (const { at, by } of edits) {
    const place = Math.floor(at * bytes.length);
    const more = by > 0 ? noise(by, seed + 100) : Buffer.alloc(0);
    bytes = Buffer.concat([bytes.subarray(0, place), more, bytes.subarray(place + Math.max(0, -by))]);
  }
  return bytes;
}

/** A tree whose paths are no folders of each other. */
const trees = fc.array(fc.tuple(paths, contents), { maxLength: 8 }).map((entries): Tree => {
  const tree: Record<string, string | Buffer> = {};
  for (const [at, content] of entries) {
    const isInTheWay = Object.keys(tree).some(
      (other) => other.startsWith(`${at}/`) || at.startsWith(`${other}/`) || other === at,
    );
    if (isInTheWay) continue;
    const bytes = contentOf(content);
    tree[at] = content.isExecutable && bytes.length < 1000 ? `x:${bytes.toString("latin1")}` : bytes;
  }
  return tree;
});

test("a delta between any two trees leads from one to the other", async (t) => {
  await fc.assert(
    fc.asyncProperty(trees, trees, fc.integer({ min: 1, max: 100_000 }), async (before, after, step) => {
      const { from, to } = pair(t, before, after);
      const delta = await deltaBetween(from, to);
      const isTimes = (times: readonly number[]): boolean => isDeepStrictEqual(times, to.state.times);
      for (const tell of [undefined, isTimes]) {
        const got = await follow(from, delta, t.signal, step, tell);
        assert.equal(treeId(got), treeId(to.state));
        assert.deepEqual(got.times, to.state.times);
      }
    }),
    { numRuns: 30 },
  );
});

function pair(t: TestContext, before: Tree, after: Tree) {
  const from = treeOnDisk(t, before, 1000);
  return { from, to: treeOnDisk(t, after, 2000, from) };
}

/** Any way of damaging bytes: cut, changed, doubled, or of no meaning at all. */
const damages = fc.oneof(
  fc.record({
    kind: fc.constant("cut" as const),
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    by: fc.nat(200),
  }),
  fc.record({
    kind: fc.constant("change" as const),
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    by: fc.nat(254),
  }),
  fc.record({
    kind: fc.constant("insert" as const),
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    by: fc.nat(40),
  }),
);

test("a damaged delta is refused, or leads somewhere else and is found out by that", async (t) => {
  const edited = noise(200_000, 2);
  edited.fill(7, 90_000, 90_500);
  const before: Tree = { "a.js": noise(9000), big: noise(200_000, 2), "c/d": "text".repeat(100), old: "o" };
  const after: Tree = { "a.js": noise(9100), big: edited, "c/d": "text".repeat(99), "c/new": noise(3000, 5) };
  const { from, to } = pair(t, before, after);
  const whole = await deltaBetween(from, to);
  const bound = to.files.reduce((sum, { size }) => sum + size, 0);
  await fc.assert(
    fc.asyncProperty(fc.array(damages, { minLength: 1, maxLength: 3 }), async (list) => {
      const delta = list.reduce(damage, whole);
      const sink = new HashingSink();
      const content = (index: number) => ({ file: `${from.dir}/${from.files[index]?.path}`, offset: 0 });
      const pieces = async function* (): AsyncGenerator<Uint8Array, void> {
        yield delta;
      };
      let got;
      try {
        got = await applyDelta(pieces(), { state: from.state, content }, sink, t.signal);
      } catch (err) {
        assert.ok(isSkeinError(err, "DELTA_CORRUPT"), String(err));
      }
      if (delta.equals(whole) || got === undefined) return;
      const isRight = treeId(got) === treeId(to.state);
      assert.ok(!isRight || sink.bytes <= bound, "what leads there brings nothing more");
    }),
    { numRuns: 300 },
  );
});

function damage(
  bytes: Buffer,
  { kind, at, by }: { kind: "cut" | "change" | "insert"; at: number; by: number },
): Buffer {
  const place = Math.min(bytes.length - 1, Math.floor(at * bytes.length));
  if (kind === "cut") return Buffer.concat([bytes.subarray(0, place), bytes.subarray(place + by + 1)]);
  if (kind === "insert")
    return Buffer.concat([bytes.subarray(0, place), noise(by + 1, by), bytes.subarray(place)]);
  const copy = Buffer.from(bytes);
  copy[place] = (copy[place] ?? 0) ^ (by + 1);
  return copy;
}

test("bytes of no meaning are refused", async (t) => {
  const { from } = pair(t, { a: "a" }, {});
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), fc.boolean(), async (bytes, hasMagic) => {
      const delta = Buffer.concat([Buffer.from(hasMagic ? "skd1" : ""), bytes]);
      await assert.rejects(follow(from, delta, t.signal), (err) => isSkeinError(err, "DELTA_CORRUPT"));
    }),
    { numRuns: 200 },
  );
});
