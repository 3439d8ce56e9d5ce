import assert from "node:assert/strict";
import { test } from "node:test";
import { ndjsonLines } from "./ndjson.ts";

async function* cut(bytes: Buffer, at: number): AsyncGenerator<Uint8Array, void> {
  for (let from = 0; from < bytes.length; from += at)
    yield await Promise.resolve(bytes.subarray(from, from + at));
}

async function linesOf(text: string, at: number): Promise<unknown[]> {
  return await Array.fromAsync(ndjsonLines(cut(Buffer.from(text), at)));
}

test("lines are the same however their bytes are cut, and heartbeats are none", async () => {
  const text = '\n{"a":"ü漢"}\n\n\n[1]\n"last"';
  for (const at of [1, 2, 3, 7, 100])
    assert.deepEqual(await linesOf(text, at), [{ a: "ü漢" }, [1], "last"], String(at));
  await assert.rejects(linesOf("{}\n{", 100), { code: "BAD_REQUEST" });
});

test("a line ends at its bound, however it comes", async () => {
  const long = "x".repeat(4 * 2 ** 20 - 100);
  assert.deepEqual(await linesOf(`"${long}"\n1`, 1500), [long, 1]);
  for (const at of [1500, 65_536])
    await assert.rejects(linesOf(`"${long}${long}"`, at), {
      code: "BAD_REQUEST",
      message: /more than 4194304/,
    });
});
