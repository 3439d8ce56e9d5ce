import assert from "node:assert/strict";
import { once } from "node:events";
import net, { type AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { openLine, PATIENCE } from "./exchange.ts";

const BODY = Buffer.alloc(12 * 2 ** 20);

test("a connection whose answer came before the whole body was sent is used again", async (t) => {
  let connections = 0;
  let read = Promise.withResolvers<void>();
  const server = net.createServer((socket) => {
    connections += 1;
    let left = 0;
    socket.on("data", (bytes) => {
      // A request begins: it is answered at once, and read when the answer has come.
      if (left === 0) {
        left = bytes.indexOf("\r\n\r\n") + 4 + BODY.length;
        socket.write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly");
        socket.pause();
        setTimeout(() => socket.resume(), 100);
      }
      left -= bytes.length;
      if (left === 0) read.resolve();
    });
    socket.on("error", () => undefined);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  using line = openLine(false, undefined, PATIENCE);
  atEnd(t, () => server.close());
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  for (let n = 0; n < 4; n++) {
    read = Promise.withResolvers();
    const answer = await line.exchange({ method: "PUT", url, headers: {}, body: BODY, signal: t.signal });
    assert.equal(await text(Readable.from(answer.body)), "early");
    await read.promise;
    await new Promise(setImmediate);
  }
  assert.ok(connections < 4, `${connections} connections`);
});
