import assert from "node:assert/strict";
import { test } from "node:test";
import { childrenIn, parseXml, textIn } from "./xml.ts";

test("what servers write is read, attributes and prefixes passed over", () => {
  const text = `<?xml version="1.0"?><s3:List xmlns="x/y"><Key a='b'>a&amp;b</Key><Empty/><Empty a="/" /></s3:List>`;
  const root = parseXml(text);
  assert.ok(root !== undefined);
  assert.deepEqual([root.name, textIn(root, "Key"), childrenIn(root, "Empty").length], ["List", "a&b", 2]);
});

test("a tag that never ends is looked through once, however long it is", () => {
  // Looked through once for each of its bytes, this would take hours.
  for (const begin of ["<", "</", "<a ", "<!", "<a", "</a "])
    assert.equal(parseXml(begin + "n".repeat(4 * 2 ** 20)), undefined, begin);
});
