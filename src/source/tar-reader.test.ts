import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { ARCHIVE_LIMITS } from "./limits.ts";
import { pax, tar, tempDir } from "./source.fixture.ts";
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

function readIn(t: TestContext, pieceBytes: number): unknown {
  using spool = new Spool(tempDir(t));
  const reader = new TarReader(spool, ARCHIVE_LIMITS);
  for (let at = 0; at < ARCHIVE.length; at += pieceBytes) reader.push(ARCHIVE.subarray(at, at + pieceBytes));
  reader.end();
  return reader.entries.map((entry) => {
    if (entry.kind === "d" || entry.kind === "l") return entry;
    const { offset } = entry.content;
    return { ...entry, content: spool.read(offset ?? 0, entry.size).toString() };
  });
}

test("an archive is the same in pieces of whatever length", (t) => {
  const whole = readIn(t, ARCHIVE.length);
  assert.equal((whole as unknown[]).length, 4);
  for (const pieceBytes of [1, 7, 511, 512, 513, 1000]) assert.deepEqual(readIn(t, pieceBytes), whole);
});
