import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { select, selectorText } from "./selection.ts";
import {
  globMatches,
  isSelector,
  matches,
  parseSelector,
  type Selectable,
  type Selector,
} from "./selector.ts";

const web1 = { name: "web1", labels: { role: "web", env: "prod", zone: "a" } };
const web2 = { name: "web2", labels: { role: "web", env: "prod", zone: "b", canary: "true" } };
const db = { name: "db", labels: { role: "db", env: "prod" } };
const old = { name: "old", labels: { role: "web", env: "staging" } };
const nodes = [web1, web2, db, old];
const named = (text: string): string =>
  nodes
    .filter((node) => matches(parseSelector(text), node))
    .map(({ name }) => name)
    .join(" ");

test("selectors name the nodes that a person would expect", () => {
  const table: Record<string, string> = {
    all: "web1 web2 db old",
    "role=web": "web1 web2 old",
    "role=web & env!=prod": "old",
    "role=web&env=prod": "web1 web2",
    web1: "web1",
    "web1 | db": "web1 db",
    canary: "web2",
    "!canary": "web1 db old",
    "role=web & !canary": "web1 old",
    "zone!=a": "web2 db old",
    "(zone=a | zone=b) & role=web": "web1 web2",
    "zone=a | zone=b & canary": "web1 web2",
    "(zone=a | zone=b) & canary": "web2",
    "!(role=web)": "db",
    "!!web1": "web1",
    "web*": "web1 web2",
    "name=web*": "web1 web2",
    "env=*": "web1 web2 db old",
    "zone=*": "web1 web2",
    "*": "web1 web2 db old",
    "role=we": "",
    nobody: "",
    "constructor=x": "",
    "constructor=*": "",
    "constructor!=*": "web1 web2 db old",
  };
  for (const [text, expected] of Object.entries(table)) assert.equal(named(text), expected, text);
});

test("what is not a selector is refused with the place", () => {
  const bad = [
    "",
    " ",
    "&",
    "role=",
    "role=(",
    "role=!",
    "role!=)",
    "=web",
    "role==web",
    "role=web &",
    "(role=web",
    "role=web)",
    "a b",
    "a,b",
    "!",
    "a=b=c",
    "r*le=web",
    "a & | b",
    "ro$le=web",
    "'web'",
    "()",
  ];
  for (const text of bad) {
    assert.throws(() => parseSelector(text), { code: "SELECTOR_BAD" }, text);
    assert.equal(isSelector(text), false);
  }
  assert.throws(() => parseSelector("role=web & $"), { message: /cannot read '\$'/ });
  assert.throws(() => parseSelector("web1,web2"), { hint: /'web1 \| web2'/ });
  assert.throws(() => parseSelector("a &"), { message: "selector 'a &': it ends too early" });
  assert.throws(() => parseSelector("a & | b"), { message: "selector 'a & | b': '|' is not expected there" });
  const deep = (depth: number): string => `${"(".repeat(depth)}a${")".repeat(depth)}`;
  assert.equal(isSelector(deep(32)), true);
  assert.throws(() => parseSelector(deep(33)), { code: "SELECTOR_BAD" });
  assert.throws(() => parseSelector(`${"!".repeat(100)}a`), { code: "SELECTOR_BAD" });
});

test("a star stands for any characters, and for none", () => {
  const of = (letters: readonly string[], maxLength: number) =>
    fc.string({ unit: fc.constantFrom(...letters), maxLength });
  fc.assert(
    fc.property(of(["a", "b", "*"], 8), of(["a", "b"], 12), (glob, text) => {
      const pattern = new RegExp(`^${glob.replaceAll("*", ".*")}$`);
      assert.equal(globMatches(glob, text), pattern.test(text));
    }),
    { numRuns: 2000 },
  );
});

test("a glob costs no more than the product of the lengths", () => {
  assert.equal(globMatches("*a*a*a*a*a*a*a*a*b", "a".repeat(200)), false);
  assert.equal(globMatches("a*b*c", "a-b-b-c"), true);
  assert.equal(globMatches("", ""), true);
  assert.equal(globMatches("a", "ab"), false);
});

test("a selection is spelled out before it is signed, and is never empty", () => {
  assert.equal(select("web1", nodes).selector, "name=web1");
  assert.equal(select("canary", nodes).selector, "canary=true");
  assert.equal(select("role=web & !(canary | db)", nodes).selector, "role=web & !(canary=true | name=db)");
  assert.equal(select(undefined, nodes).selector, "all");
  assert.deepEqual(select("web*", nodes).nodes, [web1, web2]);
  assert.throws(() => select("role=cache", nodes), { code: "SELECTION_EMPTY" });
  assert.throws(() => select("all", []), { code: "SELECTION_EMPTY" });
  assert.throws(() => select("web9", nodes), { code: "NODE_NOT_FOUND" });
  const clash = [...nodes, { name: "canary", labels: {} }];
  assert.throws(() => select("role=web & canary", clash), {
    code: "SELECTOR_AMBIGUOUS",
    hint: /name=canary/,
  });
});

const words = fc.constantFrom("web1", "web2", "canary", "db", "zone", "x*");
const leaf: fc.Arbitrary<Selector> = fc.oneof(
  fc.constant<Selector>({ kind: "all" }),
  words.map((word): Selector => ({ kind: "word", word })),
  fc
    .tuple(
      fc.constantFrom("role", "zone", "env", "name"),
      fc.constantFrom("web", "a", "prod", "web1", "w*"),
      fc.boolean(),
    )
    .map(([key, value, equal]): Selector => ({ kind: "label", key, value, equal })),
);
const selectors = fc.letrec<{ one: Selector }>((tie) => ({
  one: fc.oneof(
    { maxDepth: 4 },
    leaf,
    tie("one").map((of): Selector => ({ kind: "not", of })),
    fc
      .tuple(fc.constantFrom("and", "or"), fc.array(tie("one"), { minLength: 2, maxLength: 3 }))
      .map(([kind, of]): Selector => ({ kind, of })),
  ),
})).one;
const anyNode: fc.Arbitrary<Selectable> = fc.record({
  name: words,
  labels: fc.dictionary(fc.constantFrom("role", "zone", "canary"), fc.constantFrom("web", "a", "true")),
});

test("a selector's text reads back as the same choice", () => {
  fc.assert(
    fc.property(selectors, anyNode, (selector, node) => {
      assert.equal(matches(parseSelector(selectorText(selector)), node), matches(selector, node));
    }),
  );
});

test("any text is either read or refused, never anything else", () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(..."ab=!&|()* all".split("")), maxLength: 40 }), (text) => {
      if (!isSelector(text)) assert.throws(() => parseSelector(text), { code: "SELECTOR_BAD" });
    }),
  );
});
