import assert from "node:assert/strict";
import { test } from "node:test";
import { tarEntry } from "./source.fixture.ts";
import { BLOCK, beginsAsTar, parseHeader } from "./tar-header.ts";

test("names that fill their fields end with them", () => {
  const [name, link, prefix] = ["n".repeat(100), "l".repeat(100), "p".repeat(155)];
  const header = parseHeader(tarEntry({ name, link, prefix, type: "2" }));
  assert.deepEqual([header.name(), header.link(), header.at], [`${prefix}/${name}`, link, name]);
});

test("where GNU tar keeps times no folder is read", () => {
  const header = parseHeader(tarEntry({ name: "a", magic: "ustar  \0", prefix: "14000000000" }));
  assert.equal(header.name(), "a");
});

test("a mark of byte order is a part of the name", () => {
  const name = Buffer.from("\ufeffa").toString("latin1");
  assert.equal(parseHeader(tarEntry({ name })).name(), "\ufeffa");
});

test("a header is told by its sum, whole, and by a name", () => {
  const header = tarEntry({ name: "a" }).subarray(0, BLOCK);
  assert.equal(beginsAsTar(header), true);
  assert.equal(beginsAsTar(header.subarray(0, 300)), false);
  assert.equal(beginsAsTar(tarEntry({ name: "" })), false);
  assert.equal(beginsAsTar(tarEntry({ name: "a", badSum: true })), false);
  assert.equal(beginsAsTar(Buffer.alloc(2 * BLOCK, "text of some length\n")), false);
});
