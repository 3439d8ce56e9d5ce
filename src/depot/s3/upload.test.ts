import assert from "node:assert/strict";
import { test } from "node:test";
import { goOnWith } from "./upload.ts";

test("parts that were left over are gone on with where their size may be held", () => {
  const etags = ["a", "b"];
  const rows: [number, boolean][] = [
    [7, false],
    [8, true],
    [32, true],
    [33, false],
    [4_000_000_000, false],
    [Number.NaN, false],
  ];
  for (const [partBytes, fits] of rows) {
    const wanted = fits ? { partBytes, etags } : { partBytes: 8, etags: [] };
    assert.deepEqual(goOnWith(8, { partBytes, etags }), wanted, String(partBytes));
  }
  assert.deepEqual(goOnWith(8, undefined), { partBytes: 8, etags: [] });
});
