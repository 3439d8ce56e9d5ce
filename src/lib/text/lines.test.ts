import assert from "node:assert/strict";
import test from "node:test";
import { cutLines } from "./lines.ts";

function linesOf(text: string, size: number, most = 8): string[] {
  const told: string[] = [];
  const lines = cutLines(most, (line) => told.push(line));
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += size) lines.feed(bytes.subarray(at, at + size));
  lines.end();
  return told;
}

test("lines are the same whatever the pieces they come in, and a long one is cut with a mark", () => {
  const table: readonly (readonly [string, readonly string[]])[] = [
    ["one\ntwo", ["one", "two"]],
    ["one\n\ntwo\n", ["one", "", "two"]],
    ["one\r\ntwo\r\n", ["one", "two"]],
    ["1 %\r2 %\r3 %\n", ["1 %", "2 %", "3 %"]],
    ["äöü\n", ["äöü"]],
    ["exactly8\nnext", ["exactly8", "next"]],
    ["123456789\nnext", ["12345678…", "next"]],
    [`${"x".repeat(100)}\nnext`, ["xxxxxxxx…", "next"]],
    [`${"x".repeat(100)}\r\nnext`, ["xxxxxxxx…", "next"]],
    ["x".repeat(100), ["xxxxxxxx…"]],
  ];
  for (const [text, expected] of table) {
    for (const size of [1, 2, 3, 7, 64, 1000]) {
      assert.deepEqual(linesOf(text, size), expected, JSON.stringify([text, size]));
    }
  }
});
