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

test("a document that was cut off, or is more than one, is none", () => {
  const whole = "<List><Key>a</Key></List>";
  assert.equal(parseXml(whole)?.name, "List");
  for (let end = 0; end < whole.length; end++)
    assert.equal(parseXml(whole.slice(0, end)), undefined, `cut after ${end}`);
  for (const text of [
    whole + whole,
    `${whole}<Key>`,
    `${whole}</List>`,
    "<List></Key>",
    "text",
    "<a>".repeat(16),
  ])
    assert.equal(parseXml(text), undefined, text);
});

test("characters are read as they are written out, and entities that nobody knows stay as they are", () => {
  const rows = [
    ["&#228;&#xe4;&#x1F600;&#1114111;", "ää\u{1f600}\u{10ffff}"],
    ["&lt;&gt;&quot;&apos;&amp;lt;", `<>"'&lt;`],
    ["&mine;&toString;&#1114112;", "&mine;&toString;&#1114112;"],
  ] as const;
  for (const [text, read] of rows) {
    const root = parseXml(`<a><b>${text}</b></a>`) ?? assert.fail();
    assert.equal(textIn(root, "b"), read);
  }
});
