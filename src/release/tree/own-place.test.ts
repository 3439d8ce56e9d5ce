import assert from "node:assert/strict";
import { test } from "node:test";
import { blockedIn } from "./own-place.ts";

test("a file or a link in the place of a writable folder, or above it, is named; a folder, and nothing, is fine", () => {
  const rows = [
    { kind: "d", path: "data" },
    { kind: "f", path: "data/a.json" },
    { kind: "l", path: "latest" },
    { kind: "x", path: "run" },
  ] as const;
  const cases: [writable: string, found: string | undefined][] = [
    ["data", undefined],
    ["data/cache", undefined],
    ["tmp/deep", undefined],
    ["data/a", undefined],
    ["data/a.json", "data/a.json file"],
    ["data/a.json/b/c", "data/a.json file"],
    ["run", "run file"],
    ["latest", "latest link"],
    ["latest/tmp", "latest link"],
  ];
  for (const [writable, found] of cases) {
    const [first] = blockedIn(rows, [writable]);
    assert.equal(first === undefined ? undefined : `${first.path} ${first.kind}`, found, writable);
  }
  const all = blockedIn(
    rows,
    cases.map(([writable]) => writable),
  );
  assert.deepEqual(
    all.map(({ writable }) => writable).sort(),
    cases.flatMap(([writable, found]) => (found === undefined ? [] : [writable])).sort(),
  );
});
