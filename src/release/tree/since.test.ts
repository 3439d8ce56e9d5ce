import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeSince, encodeSince } from "./since.ts";

const HEAD = "skein-since-1\n";

test("times are told in runs, up to the longest ones", () => {
  assert.equal(encodeSince([7, 7, 5, 7]).toString(), `${HEAD}2 7\n1 5\n1 7\n`);
  assert.deepEqual(
    decodeSince(Buffer.from(`${HEAD}2 99999999999999\n1 0\n`), 3),
    [99_999_999_999_999, 99_999_999_999_999, 0],
  );
  assert.deepEqual(decodeSince(Buffer.from(HEAD), 0), []);
});

test("a table of times is read strictly, whoever sent it", () => {
  for (const text of [
    "",
    "2 7\n",
    `skein-since-2\n2 7\n`,
    `${HEAD}2 7`,
    `${HEAD}1 7\n`,
    `${HEAD}1 7\n2 5\n`,
    `${HEAD}0 7\n2 7\n`,
    `${HEAD}02 7\n`,
    `${HEAD}2 -7\n`,
    `${HEAD}2 1e3\n`,
    `${HEAD}2 7 \n`,
    `${HEAD}2 100000000000000\n`,
    `${HEAD}2 7\n\n`,
    `${HEAD}1000000000 7\n`,
  ])
    assert.throws(() => decodeSince(Buffer.from(text), 2), { code: "TREE_CORRUPT" }, text);
});
