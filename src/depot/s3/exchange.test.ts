import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { PACE } from "../seam/pace.ts";
import { LineFailed, MAX_SOCKETS, openLine } from "./exchange.ts";

test("who waits for a connection learns that the server has gone, or gives up", async (t) => {
  let asked = 0;
  const all = Promise.withResolvers<void>();
  const server = http.createServer(() => {
    asked += 1;
    if (asked === MAX_SOCKETS) all.resolve();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  atEnd(t, () => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  using line = openLine(false, undefined, { connectMs: 5000, answerMs: 60_000, pace: PACE });
  const stop = new AbortController();
  const want = { method: "GET", url: new URL(`http://127.0.0.1:${port}/`), headers: {}, body: undefined };
  const ask = async (signal: AbortSignal): Promise<unknown> => await line.exchange({ ...want, signal });
  const held = Array.from({ length: MAX_SOCKETS }, async () => await ask(t.signal));
  await all.promise;
  const left = ask(stop.signal);
  const waiting = [ask(t.signal), ask(t.signal), ask(t.signal)];
  stop.abort(new Error("changed my mind"));
  await assert.rejects(left, /changed my mind/);
  server.close();
  server.closeAllConnections();
  for (const one of [...held, ...waiting]) await assert.rejects(one, LineFailed);
});
