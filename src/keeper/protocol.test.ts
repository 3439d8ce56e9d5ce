import assert from "node:assert/strict";
import test from "node:test";
import { LINE_LIMIT_BYTES, lineReader } from "./protocol.ts";
import { restartDelayMs } from "./restarts.ts";

test("lines are cut where they end, however they arrive", () => {
  const text = '{"a":1}\n\n{"b":"ü"}\n{"c":';
  const bytes = Buffer.from(text);
  for (let size = 1; size <= bytes.length; size++) {
    const got: unknown[] = [];
    const read = lineReader((value) => got.push(value));
    for (let at = 0; at < bytes.length; at += size) read(bytes.subarray(at, at + size));
    assert.deepEqual(got, [{ a: 1 }, { b: "ü" }]);
  }
  const got: unknown[] = [];
  lineReader((value) => got.push(value))(text);
  assert.deepEqual(got, [{ a: 1 }, { b: "ü" }]);
});

test("a line without end and a line that is no JSON are refused", () => {
  const read = lineReader(() => undefined);
  read(Buffer.alloc(LINE_LIMIT_BYTES, 32));
  assert.throws(() => read(Buffer.from(" ")), RangeError);
  assert.throws(() => lineReader(() => undefined)("{no}\n"), SyntaxError);
});

test("the limit is a line's: many short ones, together or in pieces, may be longer", () => {
  const got: unknown[] = [];
  const read = lineReader((value) => got.push(value), 100);
  for (let n = 0; n < 50; n++) {
    read(Buffer.from(`"${"x".repeat(70)}"\n"${"y".repeat(40)}`));
    read(Buffer.from(`${"y".repeat(40)}"\n`));
  }
  read(Buffer.from(`"${"z".repeat(30)}"\n`.repeat(20)));
  assert.equal(got.length, 120);
});

test("restarts wait twice as long each time, up to a bound, and end at the limit", () => {
  const restart = { backoffMinMs: 100, backoffMaxMs: 500, limit: 4, limitWithinMs: 1000 };
  const table: [crashes: number[], delay: number | undefined][] = [
    [[], 100],
    [[9500], 200],
    [[9500, 9600], 400],
    [[9500, 9600, 9700], 500],
    [[9500, 9600, 9700, 9800], undefined],
    [[1, 2, 3, 4, 5, 6], 100],
    [[9000], 100],
    [[9001, 10_000], 400],
    [[10_001, 90_000, 91_000, 92_000], 100],
  ];
  for (const [crashes, delay] of table) assert.equal(restartDelayMs(crashes, restart, 10_000), delay);
  assert.equal(restartDelayMs([], null, 0), undefined);
});
