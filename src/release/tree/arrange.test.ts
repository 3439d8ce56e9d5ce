import assert from "node:assert/strict";
import { test } from "node:test";
import { arrange, checkRows, MAX_ENTRIES } from "./arrange.ts";
import type { Row } from "./rows.ts";
import type { SourceEntry } from "./tree-source.ts";

const folder = (path: string) => ({ kind: "d", path }) as const;
const link = (path: string, target: string) => ({ kind: "l", path, target }) as const;

const TREE = [
  folder("a"),
  folder("a-"),
  link("a-/x", "y"),
  folder("a/b"),
  link("a/b/c", "../../z"),
  link("z", "a"),
];

test("rows that are in order, with their folders before them, are a tree", () => {
  checkRows([]);
  checkRows(TREE);
  // UTF-16 would have it the other way round.
  checkRows([link("\uffee", "x"), link("\u{1f9f5}", "x"), link("\u{1f9f6}", "x")]);
});

const DISORDER: readonly [what: string, rows: readonly Row[]][] = [
  ["a row before its time", TREE.toReversed()],
  ["a row twice", [folder("a"), folder("a")]],
  ["a row without its folder", [link("a/b", "x")]],
  ["a row without the folder between", [folder("a"), link("a/b/c", "x")]],
  ["a row below a link", [link("a", "b"), link("a/b", "x")]],
  ["a row in a folder of a like name", [folder("a"), link("a/x", "x"), link("b/x", "x")]],
  ["a row after one beyond the first 65,536 characters", [link("\u{1f9f5}", "x"), link("\uffee", "x")]],
  ["a plain row after such a one", [link("\u{1f9f5}", "x"), link("b", "x")]],
];

for (const [what, rows] of DISORDER) {
  test(`${what} is no tree's`, () => {
    assert.throws(() => checkRows(rows), { code: "TREE_CORRUPT" });
  });
}

test("a link that leads out is refused, whoever made the tree, and by way of another too", () => {
  const bad: readonly (readonly (Row & SourceEntry)[])[] = [
    [link("a", "/etc/passwd")],
    [link("a", "../b")],
    [folder("a"), link("a/up", ".."), link("b", "a/up/../c")],
  ];
  for (const rows of bad) {
    assert.throws(() => checkRows(rows), { code: "TREE_REFUSED" });
    assert.throws(() => arrange(rows), { code: "TREE_REFUSED" });
  }
  assert.throws(() => arrange([link("a", "\x07")]), { code: "TREE_REFUSED" });
});

test("no more entries are looked at than a tree may have", () => {
  const one = folder("a");
  const many = Array.from({ length: MAX_ENTRIES + 1 }, () => one);
  const refused = { code: "TREE_REFUSED", message: /more than 1000000 entries/ };
  assert.throws(() => checkRows(many), refused);
  assert.throws(() => arrange(many), refused);
});

test("a folder may be named twice, nothing else may, and nothing lies in what is none", () => {
  assert.deepEqual(arrange([folder("a"), link("a/b/c", "x"), folder("a")]), [
    folder("a"),
    folder("a/b"),
    link("a/b/c", "x"),
  ]);
  for (const [entries, reason] of [
    [[link("a", "x"), folder("a")], "it is there twice"],
    [[folder("a"), link("a", "x")], "it is there twice"],
    [[link("a/b", "x"), link("a", "x")], "a is not a directory"],
    [[link("a/b/c", "x"), link("a", "x")], "a is not a directory"],
  ] as const)
    assert.throws(
      () => arrange(entries),
      (err: { data?: { reason?: string } }) => err.data?.reason === reason,
    );
});
