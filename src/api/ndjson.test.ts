import assert from "node:assert/strict";
import { once } from "node:events";
import net, { type AddressInfo } from "node:net";
import { test } from "node:test";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import { failWhenSilent, ndjsonLines } from "./ndjson.ts";

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

test("what came while the reader was stopped is read before it is missed", async (t) => {
  const server = net.createServer((socket) => socket.write("1\n")).listen(0);
  await once(server, "listening");
  const client = net.connect((server.address() as AddressInfo).port);
  atEnd(t, () => (client.destroy(), server.close()));
  const [served] = (await once(server, "connection")) as [net.Socket];
  const stop = failWhenSilent(client, 200, () => new Error("silent"));
  const lines = ndjsonLines(client);
  assert.equal((await lines.next()).value, 1);
  served.write("2\n");
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400); // this thread is the reader's
  assert.equal((await lines.next()).value, 2);
  await assert.rejects(lines.next(), /silent/);
  stop();
});
