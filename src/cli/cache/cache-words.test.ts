import assert from "node:assert/strict";
import { test } from "node:test";
import { cacheGcWords, cacheSubject, revisionMeant } from "./cache-words.ts";

const NOW = Date.parse("2026-11-28T12:00:00.000Z");

test("count and older are taken with and without dashes", () => {
  const rows: [string[], { count?: string; older?: string }, object][] = [
    [["count", "3"], {}, { count: 3 }],
    [[], { count: "3" }, { count: 3 }],
    [["older", "3d"], {}, { before: NOW - 3 * 86_400_000 }],
    [[], { older: "2026-11-20" }, { before: Date.parse("2026-11-20") }],
    [["count", "2", "older", "1h"], {}, { count: 2, before: NOW - 3_600_000 }],
    [["count", "2"], { older: "1h" }, { count: 2, before: NOW - 3_600_000 }],
    [["count", "0"], {}, { count: 0 }],
  ];
  for (const [words, flags, expected] of rows) assert.deepEqual(cacheGcWords(words, flags, NOW), expected);
});

test("what cannot be read, or says nothing, is refused", () => {
  for (const words of [[], ["count"], ["older"], ["count", "x"], ["older", "soon"], ["newer", "3d"]])
    assert.throws(() => cacheGcWords(words, {}, NOW), { code: "USAGE" }, words.join(" "));
  assert.throws(() => cacheGcWords(["count", "2"], { count: "3" }, NOW), { code: "USAGE" });
});

test("a release is named by app and version, anything else is a path", () => {
  assert.deepEqual(cacheSubject([]), { kind: "path", path: "." });
  assert.deepEqual(cacheSubject(["dist/app.tar.gz"]), { kind: "path", path: "dist/app.tar.gz" });
  assert.deepEqual(cacheSubject(["shop@3f9c2ab1"]), { kind: "release", app: "shop", version: "3f9c2ab1" });
  assert.deepEqual(cacheSubject(["shop", "v1"]), { kind: "release", app: "shop", version: "v1" });
  assert.throws(() => cacheSubject(["a", "b", "c"]), { code: "USAGE" });
});

test("a revision as spool prints it is a bucket's, and so is a release where there is a bucket", () => {
  const revision = "20261128031502917-3f9c2ab1";
  const meant = { package: { name: "my_site", app: "my-site" }, revision };
  assert.deepEqual(revisionMeant([`my_site.${revision}`], false), meant);
  assert.equal(revisionMeant(["shop@3f9c2ab1"], false), undefined);
  assert.equal(revisionMeant(["shop@3f9c2ab1"], true)?.revision, "3f9c2ab1");
  assert.equal(revisionMeant(["shop", revision], true)?.revision, revision);
  for (const words of [[], ["dist/app.tar.gz"], [`./my_site.${revision}`]])
    assert.equal(revisionMeant(words, true), undefined);
});
