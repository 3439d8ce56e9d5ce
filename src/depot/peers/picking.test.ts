import assert from "node:assert/strict";
import { test } from "node:test";
import { assert as holds, boolean, infiniteStream, integer, property } from "fast-check";
import { Forest, isDirect, stripeOf } from "./picking.ts";

const nobody: ReadonlySet<string> = new Set();
const names = (count: number): string[] => Array.from({ length: count }, (_, n) => `n${n}`);

test("small reads go straight to the origin, the larger the fewer peers there are", () => {
  const rows: [number, number, boolean][] = [
    [10_000_000, 0, true],
    [16_384, 9, true],
    [16_384, 63, true],
    [16_384, 64, false],
    [1000, 999, true],
    [65_536, 1, false],
    [65_535, 1, true],
    [65_535, 99, false],
  ];
  for (const [bytes, peers, direct] of rows)
    assert.equal(isDirect(bytes, peers), direct, `${bytes} bytes, ${peers} peers`);
});

test("neighbouring pieces lie in different stripes", () => {
  const stripes = Array.from({ length: 64 }, (_, piece) => stripeOf("packs/a", piece));
  assert.equal(new Set(stripes).size, 64);
  assert.notEqual(stripeOf("packs/a", 0), stripeOf("packs/b", 0));
});

test("a node alone asks the origin", () => {
  const forest = new Forest(["n0"]);
  assert.equal(forest.others("n0"), 0);
  assert.equal(forest.parent(3, "n0", nobody), undefined);
  assert.deepEqual(forest.holders(3, "n0", nobody), []);
});

test("in each stripe exactly one node asks the origin, and every way leads to it", () => {
  holds(
    property(integer({ min: 1, max: 60 }), integer({ min: 0, max: 63 }), (count, stripe) => {
      const all = names(count);
      const forest = new Forest(all);
      const parent = new Map(all.map((name) => [name, forest.parent(stripe, name, nobody)]));
      assert.equal([...parent.values()].filter((up) => up === undefined).length, 1);
      const children = Map.groupBy(all, (name) => parent.get(name));
      for (const [up, below] of children) assert.ok(up === undefined || below.length <= 4);
      for (const name of all) {
        assert.ok(depth(name, parent) <= 4, name);
        assert.equal(forest.depth(stripe, name, nobody), depth(name, parent), name);
      }
    }),
  );
});

test("nobody waits for himself, whatever each knows and whomever each has put aside", () => {
  const coins = infiniteStream(boolean());
  holds(
    property(integer({ min: 2, max: 30 }), integer({ min: 0, max: 63 }), coins, (count, stripe, coin) => {
      const all = names(count);
      const flip = (): boolean => coin.next().value === true;
      const parent = new Map<string, string | undefined>();
      for (const name of all) {
        const forest = new Forest([name, ...all.filter(flip)]);
        parent.set(name, forest.parent(stripe, name, new Set(all.filter(flip))));
      }
      for (const name of all) assert.ok(depth(name, parent) <= count);
    }),
  );
});

test("who is out is passed over for the next, and a node whose every elder is out asks the origin", () => {
  const all = names(20);
  const forest = new Forest(all);
  for (const name of all) {
    const out = new Set<string>();
    for (let up = forest.parent(7, name, out); up !== undefined; up = forest.parent(7, name, out)) {
      assert.ok(!out.has(up) && up !== name);
      out.add(up);
    }
    assert.equal(forest.holders(7, name, out).length, 19 - out.size);
  }
});

test("the load is even: over all stripes no node gives much more than its share", () => {
  for (const count of [3, 10, 100]) {
    const all = names(count);
    const forest = new Forest(all);
    const given = new Map<string | undefined, number>();
    for (const name of all) {
      for (let stripe = 0; stripe < 64; stripe++) {
        const up = forest.parent(stripe, name, nobody);
        given.set(up, (given.get(up) ?? 0) + 1 / 64);
      }
    }
    assert.ok(Math.abs((given.get(undefined) ?? 0) - 1) < 1e-9);
    given.delete(undefined);
    assert.ok(Math.max(...given.values()) < 2, `${count}: ${Math.max(...given.values())}`);
  }
});

function depth(name: string, parent: ReadonlyMap<string, string | undefined>): number {
  let steps = 0;
  for (let at = parent.get(name); at !== undefined && steps <= parent.size; at = parent.get(at)) steps += 1;
  return steps;
}
