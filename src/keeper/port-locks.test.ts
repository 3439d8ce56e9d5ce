import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import test from "node:test";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import { PortLocks } from "./port-locks.ts";

const HOST = "127.0.0.1";

/** Two keepers of one machine. */
function twoOf(t: test.TestContext): [PortLocks, PortLocks] {
  const both: [PortLocks, PortLocks] = [new PortLocks(), new PortLocks()];
  atEnd(t, () => {
    for (const locks of both) for (const [key] of locks.entries()) locks.release(key);
  });
  return both;
}

test("a port is one keeper's until it is given back, or turns out to be somebody's", (t) => {
  const [a, b] = twoOf(t);
  const port = a.take("x", HOST, []);
  assert.equal(a.take("x", HOST, [port + 1]), port);
  b.retake("y", port);
  assert.deepEqual(b.entries(), []);
  a.release("x");
  b.retake("y", port);
  assert.deepEqual(b.entries(), [["y", port]]);
  const other = b.take("y", HOST, [port]);
  assert.notEqual(other, port);
  assert.deepEqual(b.entries(), [["y", other]]);
  a.retake("x", port);
  assert.deepEqual(a.entries(), [["x", port]]);
});

test("where somebody listens is given to nobody, and kept from nobody else", async (t) => {
  const [a, b] = twoOf(t);
  const port = a.take("x", HOST, []);
  a.release("x");
  const listener = net.createServer().listen(port, HOST);
  atEnd(t, () => listener.close());
  await once(listener, "listening");
  t.mock.method(Math, "random", () => (port - 20_000 + 0.5) / 10_000);
  assert.notEqual(a.take("x", HOST, []), port);
  b.retake("y", port);
  assert.deepEqual(b.entries(), [["y", port]]);
});

test("after the last port comes the first, and where none is free that is said", (t) => {
  const [a] = twoOf(t);
  t.mock.method(Math, "random", () => 0.9999999);
  const port = a.take("x", HOST, [29_999]);
  assert.ok(port >= 20_000 && port < 20_200, String(port));
  const all = Array.from({ length: 10_000 }, (_, n) => 20_000 + n);
  assert.throws(() => a.take("z", HOST, all), { code: "PORT_TAKEN", message: /between 20000 and 29999/ });
});
