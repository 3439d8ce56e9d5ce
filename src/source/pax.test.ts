import assert from "node:assert/strict";
import { test } from "node:test";
import { parsePax } from "./pax.ts";
import { pax } from "./source.fixture.ts";

const parse = (text: string, isGlobal = false) => parsePax(Buffer.from(text), isGlobal);

test("names are taken as they are, what a release does not keep is passed over, what it drops is told", () => {
  const times = pax(["mtime", "1.5"], ["uname", "who"], ["comment", "="]);
  assert.deepEqual(parse(times), { dropped: false });
  assert.deepEqual(parse(`${times}${pax(["path", "a=b\nc"])}`), { path: "a=b\nc", dropped: false });
  const dropped = pax(["linkpath", "l"], ["SCHILY.acl.access", "x"], ["LIBARCHIVE.xattr.user.x", "y"]);
  assert.deepEqual(parse(dropped), { linkpath: "l", dropped: true });
  assert.deepEqual(parse(pax(["comment", "0".repeat(40)]), true), { dropped: false });
});

const DAMAGED = [
  "path=a\n",
  "8",
  "8 pathx\n",
  "8 pathx\n11 path=ab\n",
  "7 path\n=a\n",
  "10 path=ab\n",
  "12 path=ab\n",
  "0 path=ab\n",
  "012 path=ab\n",
  "1e1 path=\n",
  "0xb path=a\n",
  "11 path=ab\n path=c\n",
];

test("records that do not say their own length are refused", () => {
  for (const text of DAMAGED)
    assert.throws(() => parse(text), { message: '"(pax header)" cannot be released: it is damaged' }, text);
});

test("what is said beside that is refused: nobody knows what else it changes", () => {
  const refused = (text: string, why: RegExp, isGlobal = false): void =>
    assert.throws(() => parse(text, isGlobal), { code: "ARCHIVE_REFUSED", message: why }, text);
  const named = pax(["path", "a"]);
  refused(`${named}${pax(["hdrcharset", "BINARY"])}`, /^"a" cannot .* its pax header has hdrcharset$/);
  refused(`${named}${pax(["size", "9"])}`, /^"a" .* has size, as that of a file over 8 GiB has$/);
  refused(pax(["GNU.sparse.map", "0,1"]), /it is a sparse file/);
  refused(pax(["SCHILY.xattr.security.capability", "x"]), /has file capabilities/);
  refused(pax(["mtime", "1"]), /its pax header has mtime$/, true);
});
