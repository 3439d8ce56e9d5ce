import assert from "node:assert/strict";
import { test } from "node:test";
import { ByteReader, ByteWriter } from "./byte-io.ts";
import { ByteStream } from "./byte-stream.ts";

const MOST = Number.MAX_SAFE_INTEGER;
const NUMBERS = [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, 2 ** 31, 2 ** 32, MOST];
const SIGNED = [0, -1, 1, -64, 64, -(2 ** 31), 2 ** 40, -(2 ** 52), 2 ** 52 - 1];
const corrupt = { code: "DELTA_CORRUPT" };

test("numbers and bytes come back, however many there are, and also when it begins anew", () => {
  const writer = new ByteWriter();
  for (const text of ["many more bytes than it has room for at first ".repeat(40), "a few"]) {
    writer.clear();
    for (const number of NUMBERS) writer.number(number);
    for (const number of SIGNED) writer.signed(number);
    writer.bytes(Buffer.from(text));
    for (let n = 0; n < 1000; n++) writer.number(MOST - n);
    const reader = new ByteReader(Buffer.from(writer.view()));
    assert.equal(reader.left, writer.length);
    assert.deepEqual(
      NUMBERS.map(() => reader.number()),
      NUMBERS,
    );
    assert.deepEqual(
      SIGNED.map(() => reader.signed()),
      SIGNED,
    );
    assert.equal(reader.bytes(text.length).toString(), text);
    for (let n = 0; n < 1000; n++) assert.equal(reader.number(), MOST - n);
    assert.deepEqual([reader.isDone, reader.left], [true, 0]);
  }
  writer.clear();
  for (const number of [0x7f, 0x80]) writer.number(number);
  assert.deepEqual([...writer.view()], [0x7f, 0x80, 0x01]);
});

test("bytes that hold no such number, or fewer than are asked for, are refused", async () => {
  const tooLarge = Buffer.from([0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10]);
  for (const bytes of [Buffer.alloc(0), Buffer.from([0x80]), tooLarge]) {
    assert.throws(() => new ByteReader(bytes).number(), corrupt);
    await assert.rejects(streamOf([bytes]).number(), corrupt);
  }
  const reader = new ByteReader(Buffer.from("abc"));
  assert.throws(() => reader.bytes(4), corrupt);
  assert.equal(reader.bytes(3).toString(), "abc");
});

function streamOf(pieces: readonly Uint8Array[], onEnd: () => void = () => undefined): ByteStream {
  return new ByteStream(
    (async function* () {
      try {
        yield* pieces;
      } finally {
        onEnd();
      }
    })(),
  );
}

test("a stream gives numbers and bytes from pieces of whatever length, and lets go of its source", async () => {
  const writer = new ByteWriter();
  for (const number of NUMBERS) writer.number(number);
  writer.bytes(Buffer.from("some bytes"));
  for (const step of [1, 3, 100]) {
    const bytes = Buffer.from(writer.view());
    const pieces = Array.from({ length: Math.ceil(bytes.length / step) }, (_, n) =>
      bytes.subarray(n * step, (n + 1) * step),
    );
    let hasEnded = false;
    const stream = streamOf([Buffer.alloc(0), ...pieces, Buffer.from("more")], () => (hasEnded = true));
    for (const number of NUMBERS) assert.equal(await stream.number(), number);
    assert.equal((await stream.bytes(10, 10)).toString(), "some bytes");
    assert.equal(await stream.ended(), false);
    assert.equal(hasEnded, false);
    await stream.close();
    assert.equal(hasEnded, true);
  }
});

test("no room is made for more than may come, and what comes is counted from the bound on", async () => {
  await assert.rejects(streamOf([Buffer.from("abc")]).bytes(3, 2), { message: /longer than it may be/ });
  await assert.rejects(streamOf([Buffer.from("abc")]).bytes(4, 4), { message: /ends too early/ });
  const pieces = ["abc", "de", "f"].map((text) => Buffer.from(text));
  for (const [most, isEnough] of [
    [5, true],
    [4, false],
  ] as const) {
    const stream = streamOf(pieces);
    assert.equal((await stream.bytes(1, 1)).toString(), "a");
    stream.bound(most);
    const rest = stream.bytes(5, 5);
    if (isEnough) assert.equal((await rest).toString(), "bcdef");
    else await assert.rejects(rest, { message: /longer than what it leads to/ });
  }
  const stream = streamOf(pieces);
  await stream.bytes(1, 1);
  assert.throws(() => stream.bound(1), { message: /longer than what it leads to/ });
});
