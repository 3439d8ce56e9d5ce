import assert from "node:assert/strict";
import { test } from "node:test";
import { keepNewest } from "./keep-newest.ts";

test("of more entries than may be kept the one put in longest ago goes", () => {
  const map = new Map<string, number>();
  for (const [n, key] of ["a", "b", "a", "c", "d"].entries()) keepNewest(map, 3, key, n);
  assert.deepEqual(
    [...map],
    [
      ["a", 2],
      ["c", 3],
      ["d", 4],
    ],
  );
  keepNewest(map, 3, "c", 5);
  assert.deepEqual([...map.keys()], ["a", "d", "c"]);
});
