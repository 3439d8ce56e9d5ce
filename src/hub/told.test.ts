import assert from "node:assert/strict";
import test from "node:test";
import type { Content } from "../api/coding.ts";
import type { KeyId } from "../lib/ids.ts";
import { Told } from "./told.ts";

const node = (n: number): KeyId => String(n).padStart(32, "0") as KeyId;
const content = (etag: string, bytes = 10): Content => ({ etag, text: Buffer.alloc(bytes) });

test("of each node the last two contents are remembered", () => {
  const told = new Told();
  for (const etag of ["a", "b", "c", "b"]) told.keep(node(1), content(etag));
  assert.deepEqual(
    ["a", "b", "c"].map((etag) => told.find(node(1), etag)?.etag),
    [undefined, "b", "c"],
  );
  assert.equal(told.find(node(2), "b"), undefined);
  assert.equal(told.find(node(1), undefined), undefined);
});

test("whoever was told longest ago is forgotten first when there is too much", () => {
  const told = new Told(100);
  for (let n = 0; n < 10; n++) told.keep(node(n), content("a"));
  told.keep(node(0), content("a"));
  told.keep(node(10), content("a", 20));
  const known = Array.from({ length: 11 }, (_, n) => n).filter((n) => told.find(node(n), "a") !== undefined);
  assert.deepEqual(known, [0, 3, 4, 5, 6, 7, 8, 9, 10]);
  told.keep(node(3), content("huge", 1000));
  assert.equal(told.find(node(3), "huge"), undefined);
});
