import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { globFilter, idleGlobs, isGlob } from "./globs.ts";

test("a pattern takes what it says and everything below, and nothing else", () => {
  const cases: readonly [glob: string, takes: string[], leaves: string[]][] = [
    ["dist", ["dist", "dist/a/b"], ["distant", "a/dist"]],
    ["./dist/", ["dist/a"], ["a/dist"]],
    [".", ["a", ".a", "a/b"], []],
    ["./", ["a", "a/b"], []],
    ["*.js", ["a.js", ".js", "a.js/below"], ["lib/a.js", "a.jsx"]],
    ["dist/**", ["dist/a", "dist/a/b"], ["dist", "a"]],
    ["**/*.map", ["a.map", "a/b/c.map"], ["a.mapped"]],
    ["a/**/z", ["a/z", "a/b/c/z"], ["az", "a/bz"]],
    ["a/**.js", ["a/b.js", "a/b/c.js"], ["b.js", "a/b.css"]],
    ["?.txt", ["a.txt", "é.txt", "\u{1f9a2}.txt"], ["ab.txt", "/.txt", ".txt"]],
    ["[a-c]x", ["ax", "cx"], ["dx", "-x"]],
    ["[!a-c]x", ["dx"], ["ax"]],
    ["[\\d]x", ["\\x", "dx"], ["1x"]],
    ["{a,b/*}.js", ["a.js", "b/c.js"], ["c.js", "b/c/d.js"]],
    ["{a,b{c,d/{e,f}}}.js", ["a.js", "bc.js", "bd/e.js", "bd/f.js"], ["b.js", "bc}.js", "e.js", "a,b.js"]],
    ["{a{b,c},d}", ["ab", "ac", "d"], ["a", "abd", "a{b", "c}"]],
    ["x][ab]", ["x]a", "x]b"], ["x", "xa"]],
    ["{a,{b}.js", ["{a,b.js"], ["a.js", "b.js"]],
    ["a{b", ["a{b"], ["ab"]],
    ["a[b", ["a[b"], ["ab"]],
    ["a.b+(c)^$|\\", ["a.b+(c)^$|\\"], ["aXb+(c)^$|\\"]],
  ];
  for (const [glob, takes, leaves] of cases) {
    const has = globFilter([glob]);
    for (const path of takes) assert.ok(has(path), `${glob} takes ${path}`);
    for (const path of leaves) assert.ok(!has(path), `${glob} leaves ${path}`);
  }
});

test("later patterns win, and with none everything is taken", () => {
  const has = globFilter(["dist", "!**/*.map", "dist/keep.map"]);
  assert.deepEqual(["dist/a.js", "dist/a.map", "dist/keep.map", "b"].map(has), [true, false, true, false]);
  const all = globFilter(["!*.map"]);
  assert.deepEqual(["a.js", "a.map"].map(all), [true, false]);
  assert.ok(globFilter(undefined)("a") && globFilter([])("a"));
});

test("a pattern that takes nothing is named", () => {
  const taken = ["dist/a.js", "skein.yaml"];
  assert.deepEqual(idleGlobs(["dist", "dits", "**/*.js", "!*.map", "skein.yaml"], taken), ["dits"]);
  assert.deepEqual(idleGlobs([".", "!*.map"], []), ["."]);
});

test("every text is a pattern but one whose range runs backwards", () => {
  assert.deepEqual(["[z-a]", "!**/[b-a].js", "{x,[9-0]}"].map(isGlob), [false, false, false]);
  const text = fc.stringMatching(/^[ab*?{},![\]\\/.^$|()+\u{1f9a2}]{0,12}$/u);
  fc.assert(fc.property(text, (glob) => isGlob(glob)));
});
