import assert from "node:assert/strict";
import { test } from "node:test";
import { countIn } from "./count-in.ts";

test("a header is a count or nothing", () => {
  assert.equal(countIn("0"), 0);
  assert.equal(countIn("999999999999999"), 999_999_999_999_999);
  for (const other of [
    undefined,
    "",
    "-1",
    "1.5",
    "1e3",
    "0x10",
    " 1",
    "Infinity",
    "NaN",
    "9".repeat(16),
    ["1"],
  ])
    assert.equal(countIn(other), undefined, String(other));
});
