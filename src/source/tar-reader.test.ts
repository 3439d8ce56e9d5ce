import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { ARCHIVE_LIMITS } from "./limits.ts";
import { pax, tar, tempDir, type TarEntry } from "./source.fixture.ts";
import { Spool } from "./spool.ts";
import { TarReader } from "./tar-reader.ts";

const LONG = `${"n".repeat(150)}/${"m".repeat(100)}`;
const ARCHIVE = tar(
  { name: "x", type: "x", content: pax(["path", LONG]) },
  { name: "short", content: "long\n".repeat(300) },
  { name: "empty" },
  { name: "link", type: "2", link: "empty" },
  { name: "L", type: "L", content: `${LONG}2\0` },
  { name: "short", content: "x".repeat(512) },
);

function readIn(t: TestContext, pieceBytes: number, archive = ARCHIVE, limits = ARCHIVE_LIMITS) {
  using spool = new Spool(tempDir(t));
  const reader = new TarReader(spool, limits);
  for (let at = 0; at < archive.length; at += pieceBytes) reader.push(archive.subarray(at, at + pieceBytes));
  reader.end();
  return reader.entries.map((entry) => {
    if (entry.kind === "d" || entry.kind === "l") return entry;
    const { offset } = entry.content;
    return { ...entry, content: spool.read(offset ?? 0, entry.size).toString() };
  });
}

test("an archive is the same in pieces of whatever length", (t) => {
  const whole = readIn(t, ARCHIVE.length);
  assert.deepEqual(
    whole.map(({ path }) => path),
    [LONG, "empty", "link", `${LONG}2`],
  );
  for (const pieceBytes of [1, 7, 511, 512, 513, 1000]) assert.deepEqual(readIn(t, pieceBytes), whole);
});

/** Path → what it is, of an archive of these. */
function read(t: TestContext, entries: readonly TarEntry[], limits = ARCHIVE_LIMITS): Record<string, string> {
  const found = readIn(t, 4096, tar(...entries), limits);
  return Object.fromEntries(
    found.map((entry) => [entry.path, "target" in entry ? entry.target : entry.kind]),
  );
}

test("what headers say before an entry is said of that one alone", (t) => {
  const found = read(t, [
    { name: "x", type: "x", content: pax(["path", "p"]) },
    { name: "g", type: "g", content: pax(["comment", "of git"]) },
    { name: "a" },
    { name: "x", type: "x", content: pax(["linkpath", "by pax"]) },
    { name: "b", type: "2", link: "cut" },
    { name: "L", type: "L", content: "without a zero" },
    { name: "K", type: "K", content: "by gnu\0" },
    { name: "c", type: "2", link: "cut" },
    { name: "d", type: "2", link: "own" },
  ]);
  assert.deepEqual(found, { p: "f", b: "by pax", "without a zero": "by gnu", d: "own" });
});

test("there may be any number of headers, as long as no entry has too much of them", (t) => {
  const comment = (bytes: number): TarEntry => ({
    name: "x",
    type: "x",
    content: pax(["comment", "c".repeat(bytes - "131072 comment=\n".length)]),
  });
  const full = comment(131_072);
  assert.deepEqual(read(t, [full, { name: "a" }, full, { name: "b" }]), { a: "f", b: "f" });
  for (const entries of [[comment(131_073)], [full, { name: "L", type: "L", content: "n" }]])
    assert.throws(() => read(t, entries), { message: /headers are over 131072 bytes/ });
});

test("the archive's own folder is none of its entries, and nothing else may have its name", (t) => {
  for (const name of [".", "./"]) {
    assert.deepEqual(read(t, [{ name, type: "5" }, { name: "a" }]), { a: "f" });
    assert.deepEqual(Object.keys(read(t, [{ name, type: "2", link: "a" }])), [name.replace("./", "")]);
  }
});

test("bits that mean something for a file alone are passed over elsewhere", (t) => {
  const found = read(t, [
    { name: "d", type: "5", mode: 0o2755 },
    { name: "l/", type: "2", link: "d", mode: 0o4777 },
  ]);
  assert.deepEqual(found, { d: "d", l: "d" });
  for (const entry of [
    { name: "f", mode: 0o2755 },
    { name: "d", type: "5", mode: 0o3755 },
  ])
    assert.throws(() => read(t, [entry]), { message: /setuid, setgid or sticky/ });
});

test("a bound is what may be, also after hard links to links", (t) => {
  const limits = { ...ARCHIVE_LIMITS, fileBytes: 1000, totalBytes: 1500 };
  const file = (name: string, bytes: number): TarEntry => ({ name, content: "x".repeat(bytes) });
  const links: TarEntry[] = [
    { name: "l", type: "2", link: "a" },
    { name: "m", type: "1", link: "l" },
  ];
  const fits = [file("a", 1000), ...links, file("b", 500)];
  assert.deepEqual(read(t, fits, limits), { a: "f", l: "a", m: "a", b: "f" });
  assert.throws(() => read(t, [...fits, file("c", 1)], limits), { message: /files are over 1500 bytes/ });
  assert.throws(() => read(t, [file("a", 1001)], limits), { message: /it is over 1000 bytes/ });
});
