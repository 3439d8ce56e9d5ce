import assert from "node:assert/strict";
import test from "node:test";
import { decodeRows, rereadRows } from "./rows.ts";
import { comparePaths, lengthFault, linkFault, pathFault } from "./tree-path.ts";

const SHA = "ab".repeat(32);
const refused = (text: string, why: RegExp): void =>
  assert.throws(() => decodeRows(Buffer.from(text)), { code: "TREE_CORRUPT", message: why }, text);

test("what a row may be is read strictly, whoever sent it", () => {
  const good = `d a\nf a/b\x000 ${SHA}\nx a/c\x0012 ${SHA}\nl d\x00a/b\n`;
  const rows = [
    { kind: "d", path: "a" },
    { kind: "f", path: "a/b", size: 0, sha256: SHA },
    { kind: "x", path: "a/c", size: 12, sha256: SHA },
    { kind: "l", path: "d", target: "a/b" },
  ];
  assert.deepEqual(decodeRows(Buffer.from(good)), rows);
  assert.deepEqual(rereadRows(Buffer.from(good)), rows);
  assert.deepEqual(decodeRows(new Uint8Array()), []);
  refused("d a", /the last row has no end$/);
  refused("da\n", /a row begins with "da"$/);
  refused("\n", /a row begins with ""$/);
  refused("d a\x00\n", /"a": not a row of kind/);
  refused("q a\n", /"a": not a row of kind/);
  refused("f a\n", /"a": not a row of kind/);
  refused(`q a\x001 ${SHA}\n`, /"a": not a row of kind/);
  refused("l a\n", /"a": not a row of kind/);
  refused("l a\x00\n", /"a": not a row of kind/);
  refused("l a\x00b\x01\n", /"a": not a row of kind/);
  refused("l a\x00\ufffd\n", /"a": not a row of kind/);
  refused(`l a\x00${"b".repeat(4096)}\n`, /"a": not a row of kind/);
  assert.equal(decodeRows(Buffer.from(`l a\x00${"b".repeat(4095)}\n`)).length, 1);
  for (const size of ["", "01", "-1", "1e3", "+1", "0x1", "1.0", "9007199254740992", "12345678901234567"])
    refused(`f a\x00${size} ${SHA}\n`, /"a": size or hash cannot be read$/);
  for (const hash of ["", SHA.toUpperCase(), SHA.slice(1), `${SHA}0`])
    refused(`f a\x001 ${hash}\n`, /"a": size or hash cannot be read$/);
  assert.throws(() => decodeRows(Buffer.from([0x64, 0x20, 0xff, 0x0a])), { message: /rows are not UTF-8$/ });
});

const PATHS: readonly (readonly [path: string, fault: RegExp | undefined])[] = [
  ["a", undefined],
  [".hidden/..two/three..", undefined],
  ["a b/ü/\u{1f600}", undefined],
  [`${"d/".repeat(63)}f`, undefined],
  [`${"d/".repeat(64)}f`, /over 64 folders deep/],
  ["e".repeat(255), undefined],
  ["e".repeat(256), /a part of the path is over 255 bytes/],
  ["ü".repeat(128), /a part of the path is over 255 bytes/],
  [Array.from({ length: 5 }, () => "e".repeat(204)).join("/"), undefined],
  [`${Array.from({ length: 5 }, () => "e".repeat(204)).join("/")}e`, /over 1024 bytes/],
  ["", /empty/],
  ["/etc/passwd", /absolute/],
  ["..", /a part \.\./],
  ["a/../../b", /a part \.\./],
  ["./a", /a part \./],
  ["a/.", /a part \./],
  ["a//b", /an empty part/],
  ["a/", /an empty part/],
  [".skein", /is reserved/],
  [".skein/x", /is reserved/],
  ["a/.skein", undefined],
  ["a\x00b", /control/],
  ["a\nb", /control/],
  ["a\x7f", /control/],
  ["a\u202eb", /direction/],
  ["a\u2066b", /direction/],
  ["a\ufffdb", /invalid/],
  ["a\ud800b", /invalid/],
];

for (const [path, fault] of PATHS) {
  const shown = JSON.stringify(path.length > 40 ? `${path.slice(0, 40)}…` : path);
  test(`${shown} (${path.length}) ${fault === undefined ? "may" : "may not"} be a path`, () => {
    if (fault === undefined) assert.equal(pathFault(path), undefined);
    else assert.match(pathFault(path) ?? "", fault);
    // What would end a row, or be no text, never comes as a path at all.
    if (fault !== undefined && !/[\0\n\ud800]/.test(path)) refused(`d ${path}\n`, fault);
  });
}

test("a path's length is known before it is read", () => {
  assert.equal(lengthFault("ü".repeat(512)), undefined);
  assert.match(lengthFault(`${"ü".repeat(512)}e`) ?? "", /over 1024 bytes/);
});

test("as many links are followed as the kernel would, and one that leads on to an absolute place is refused", () => {
  const chain = (hops: number, end: string): ReadonlyMap<string, string> =>
    new Map(Array.from({ length: hops }, (_, n) => [`l${n}`, n === hops - 1 ? end : `l${n + 1}`]));
  assert.equal(linkFault("x", "l0", chain(3, "file")), undefined);
  assert.match(linkFault("x", "l0", chain(3, "/etc")) ?? "", /leads on to \/etc$/);
  assert.match(linkFault("x", "l0", chain(40, "..")) ?? "", /outside the release$/);
  assert.equal(linkFault("x", "l0", chain(41, "..")), undefined, "the kernel gives up before");
});

test("a name beyond the first 65,536 characters comes after those within", () => {
  assert.ok(comparePaths("a\uffee", "a\u{1f600}") < 0);
  assert.ok(comparePaths("a\u{1f600}", "a\uffee") > 0);
  assert.equal(comparePaths("a", "a"), 0);
});
