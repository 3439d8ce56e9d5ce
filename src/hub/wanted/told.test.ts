import assert from "node:assert/strict";
import test from "node:test";
import type { Content } from "../../api/body-coding.ts";
import type { KeyId } from "../../lib/text/ids.ts";
import { Told } from "./told.ts";

const node = (n: number): KeyId => String(n).padStart(32, "0") as KeyId;
const content = (etag: string, bytes = 10): Content => ({ etag, parts: [Buffer.alloc(bytes)] });

test("of each node the last two contents are remembered", () => {
  const told = new Told();
  for (const etag of ["a", "b", "c", "b"]) told.keep(node(1), content(etag), false);
  assert.deepEqual(
    ["a", "b", "c"].map((etag) => told.after(node(1), etag)?.tag),
    [undefined, "b", "c"],
  );
  assert.equal(told.after(node(2), "b"), undefined);
  assert.equal(told.after(node(1), undefined), undefined);
});

test("a report that was taken is part of what both hold, until an answer in full", () => {
  const told = new Told();
  told.heard(node(1), Buffer.from("{}"));
  assert.equal(told.after(node(1), "a"), undefined);
  told.keep(node(1), content("a"), true);
  told.heard(node(1), Buffer.from("{}"));
  const tag = told.after(node(1), "a")?.tag ?? "";
  assert.match(tag, /^a\.[0-9a-f]{8}$/);
  const sizes = (name: string): number[] | undefined =>
    told.named(node(1), name)?.parts.map(({ length }) => length);
  assert.deepEqual(sizes(tag), [10, 2]);
  assert.deepEqual(sizes("a"), [10]);
  assert.equal(told.named(node(1), "a.00000000"), undefined);
  told.keep(node(1), content("b"), true);
  assert.equal(told.after(node(1), "b")?.tag, "b");
});

test("whoever was heard of longest ago is forgotten first when there is too much", () => {
  const told = new Told(100);
  for (let n = 0; n < 10; n++) told.keep(node(n), content("a"), false);
  told.keep(node(0), content("a"), false);
  told.keep(node(10), content("a", 20), false);
  const known = Array.from({ length: 11 }, (_, n) => n).filter((n) => told.after(node(n), "a") !== undefined);
  assert.deepEqual(known, [0, 3, 4, 5, 6, 7, 8, 9, 10]);
  told.keep(node(3), content("huge", 1000), false);
  assert.equal(told.after(node(3), "huge"), undefined);
});

test("what is kept of a report takes no more memory than it has bytes", () => {
  const told = new Told();
  told.keep(node(1), content("a"), false);
  told.heard(node(1), Buffer.from("{}"));
  const kept = told.after(node(1), "a")?.parts.at(-1);
  assert.equal(kept?.toString(), "{}");
  assert.equal(kept?.buffer.byteLength, 2);
});
