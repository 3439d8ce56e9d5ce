import assert from "node:assert/strict";
import test from "node:test";
import { fitting } from "./fitting.ts";

test("a line is cut to the columns that it takes, between characters", () => {
  assert.deepEqual(
    [3, 4, 5, 6].map((width) => fitting("ab漢字", width)),
    ["ab", "ab漢", "ab漢", "ab漢字"],
  );
  assert.deepEqual([fitting("🎉🎉", 3), fitting("🎉🎉", 1)], ["🎉", ""]);
  assert.equal(fitting("e\u0301xy", 2), "e\u0301x");
  assert.equal(fitting("web1  judge", 20), "web1  judge");
});
