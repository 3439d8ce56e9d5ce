import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import test from "node:test";
import { array, assert as holds, constantFrom, oneof, property, string, uint8Array } from "fast-check";
import { packJson, unpackJson } from "./packed-json.ts";

const MOST = 1_000_000;
const there = (bytes: Buffer): Buffer => unpackJson(packJson(bytes), MOST);

test("any bytes come out as they went in", () => {
  holds(
    property(uint8Array({ maxLength: 400 }), (bytes) =>
      assert.deepEqual(there(Buffer.from(bytes)), Buffer.from(bytes)),
    ),
  );
});

test("whatever looks like digits comes out as it went in", () => {
  const bytes = uint8Array({ minLength: 8, maxLength: 300 }).map((some) => Buffer.from(some));
  const part = oneof(
    bytes.map((some) => some.toString("hex")),
    bytes.map((some) => some.toString("base64url")),
    bytes.map((some) => Buffer.from(JSON.stringify({ node: some.toString("hex") })).toString("base64url")),
    string({ unit: "binary" }),
    constantFrom('"', "\u0001", "\u0002", "\u0003", "\u0004", "f", "=", "AAA"),
  );
  holds(
    property(array(part), (parts) => {
      const text = Buffer.from(parts.map((one, n) => (n % 2 === 0 ? one : `"${one}"`)).join(""));
      assert.deepEqual(there(text), text);
    }),
  );
});

test("a digest costs its bytes, and so do a signature and a digest within what is signed", () => {
  const digest = randomBytes(32).toString("hex");
  const payload = Buffer.from(JSON.stringify({ order: digest })).toString("base64url");
  const body = Buffer.from(JSON.stringify({ digest, p: payload, s: randomBytes(64).toString("base64url") }));
  assert.equal(
    packJson(body).length,
    '{"digest":"","p":"{"order":""}","s":""}'.length + 2 * (2 + 32) + 3 + 3 + 64,
  );
});

test("what was not packed by this is refused", () => {
  for (const bytes of [[1], [1, 9, 0], [2, 0], [2, 0, 9, 1], [3, 0, 4, 2, 0, 1, 1], [3, 0, 2, 1, 9], [4]]) {
    assert.throws(() => unpackJson(Buffer.from(bytes), MOST), { code: "BAD_REQUEST" }, String(bytes));
  }
});

test("no more comes out than may", () => {
  const packed = packJson(Buffer.from(`"${randomBytes(400).toString("hex")}"`));
  assert.throws(() => unpackJson(packed, 800), { code: "DOC_TOO_BIG" });
  assert.equal(unpackJson(packed, 802).length, 802);
});
