import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { tempDir, writeTree } from "../release.fixture.ts";
import { decodeRows, encodeRow, isFileRow } from "../tree/rows.ts";
import { follow } from "./delta.fixture.ts";

interface Side {
  readonly rows: string;
  readonly times: readonly number[];
}

interface Vectors {
  readonly delta: {
    readonly from: Side & { readonly contents: Readonly<Record<string, string>> };
    readonly to: Side;
    readonly bytes: string;
  };
}

const file = path.join(import.meta.dirname, "../../../docs/formats/vectors-tree.json");
const { delta } = JSON.parse(fs.readFileSync(file, "utf8")) as Vectors;

test("the bytes in docs/formats lead from the one tree to the other", async (t) => {
  const rows = decodeRows(Buffer.from(delta.from.rows));
  const from = {
    dir: writeTree(tempDir(t), delta.from.contents),
    state: { rows, times: delta.from.times },
    files: rows.filter(isFileRow),
  };
  const got = await follow(from, Buffer.from(delta.bytes, "base64"), t.signal);
  assert.equal(got.rows.map(encodeRow).join(""), delta.to.rows);
  assert.deepEqual(got.times, delta.to.times);
});
