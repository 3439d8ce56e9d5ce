import assert from "node:assert/strict";
import { test } from "node:test";
import { digestOf } from "../../lib/text/ids.ts";
import { arrange } from "./arrange.ts";
import { decodeRoot, encodeRoot, SEGMENT_BOUND } from "./segments.ts";

const segment = (n: number, length: number) => ({ id: digestOf(`segment ${n}`), length });

test("a list leads to no more than a tree may have, and to nothing twice", () => {
  const list = Array.from({ length: 1000 }, (_, n) => segment(n, SEGMENT_BOUND));
  assert.deepEqual(decodeRoot(encodeRoot(list)), list);
  const bad = [
    [segment(1, 10), segment(2, 20), segment(1, 10)],
    Array.from({ length: 1200 }, (_, n) => segment(n, SEGMENT_BOUND)),
  ];
  for (const [n, refs] of bad.entries())
    assert.throws(() => decodeRoot(encodeRoot(refs)), { code: "TREE_CORRUPT" }, String(n));
});

test("what would make a list longer than anybody reads is refused before it is made", () => {
  const target = "t".repeat(4000);
  const entries = Array.from({ length: 70_000 }, (_, n) => ({ kind: "l", path: String(n), target }) as const);
  const reason = "the list of what is in it is over 256 MiB";
  assert.throws(() => arrange(entries), { code: "TREE_REFUSED", data: { path: ".", reason } });
  assert.equal(arrange(entries.slice(0, 60_000)).length, 60_000);
});
