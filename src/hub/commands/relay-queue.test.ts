import assert from "node:assert/strict";
import test from "node:test";
import type { CommandLine } from "../../api/schemas.ts";
import type { KeyId } from "../../lib/text/ids.ts";
import { RelayQueue } from "./relay-queue.ts";

const MIB = 2 ** 20;
const line = (bytes: number, text = "x"): CommandLine => ({
  node: "0".repeat(32) as KeyId,
  type: "line",
  text: text.repeat(bytes),
});

const turns = async (): Promise<void> => await new Promise((resolve) => setImmediate(resolve));

test("nodes with long lines wait until the operator has read; nothing is lost", async () => {
  const queue = new RelayQueue();
  let pushed = 0;
  const pushing = Array.from({ length: 20 }, async () => {
    await queue.push(line(3 * MIB));
    pushed += 1;
  });
  await turns();
  assert.equal(pushed, 2);
  let read = 0;
  while (read < 20) {
    assert.ok(queue.bytes <= 8 * MIB, `${queue.bytes} bytes wait`);
    if (queue.shift() !== undefined) read += 1;
    await turns();
  }
  await Promise.all(pushing);
  assert.deepEqual([queue.shift(), queue.bytes], [undefined, 0]);
});

test("short lines are bounded by their count", async () => {
  const queue = new RelayQueue();
  let pushed = 0;
  const pushing = Array.from({ length: 1500 }, async () => {
    await queue.push(line(1));
    pushed += 1;
  });
  await turns();
  assert.equal(pushed, 1000);
  queue.close();
  await Promise.all(pushing);
});

test("a line larger than all room goes alone, and the end comes in at any time", async () => {
  const queue = new RelayQueue();
  await queue.push(line(5 * MIB, "é"));
  let more = false;
  const pushing = queue.push(line(1)).then(() => {
    more = true;
  });
  queue.pushEnd({ ...line(1), type: "result" });
  await turns();
  assert.equal(more, false);
  assert.equal(queue.shift()?.type, "line");
  await pushing;
  assert.deepEqual([queue.shift()?.type, queue.shift()?.type], ["result", "line"]);
});

test("who waits for room goes on when nobody reads any more, who waits for a line when its signal aborts", async () => {
  const queue = new RelayQueue();
  await queue.push(line(8 * MIB));
  const pushing = queue.push(line(8 * MIB));
  queue.close();
  await pushing;
  assert.deepEqual([queue.shift(), queue.bytes], [undefined, 0]);
  const stop = new AbortController();
  const waiting = queue.change(stop.signal);
  stop.abort();
  await waiting;
});
