import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import test from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { OpenCalls } from "./open-calls.ts";

test("a call's signal tells that its caller has gone, or that the hub stops, and nothing of one that was answered", async (t) => {
  const stop = new AbortController();
  const calls = new OpenCalls(stop.signal);
  const begun: { path: string; signal: AbortSignal; closed: Promise<unknown> }[] = [];
  const askedLate = Promise.withResolvers<void>();
  const late = Promise.withResolvers<AbortSignal>();
  const server = http.createServer((req, res) => {
    if (req.url === "/late") {
      res.once("close", () => late.resolve(calls.signalOf(res)));
      askedLate.resolve();
      return;
    }
    begun.push({ path: req.url ?? "", signal: calls.signalOf(res), closed: once(res, "close") });
    if (req.url === "/answered") res.end("done");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  atEnd(t, () => server.closeAllConnections());
  atEnd(t, () => void server.close());
  const { port } = server.address() as AddressInfo;
  const ask = async (path: string): Promise<http.ClientRequest> => {
    const req = http.get({ port, host: "127.0.0.1", path, agent: false });
    req.on("error", () => undefined);
    req.on("response", (response) => response.resume());
    while (!begun.some((one) => one.path === path)) await new Promise((resolve) => setImmediate(resolve));
    return req;
  };
  const of = (path: string): (typeof begun)[number] =>
    begun.find((one) => one.path === path) ?? assert.fail();
  await ask("/answered");
  await of("/answered").closed;
  (await ask("/cut")).destroy();
  await of("/cut").closed;
  const gone = http.get({ port, host: "127.0.0.1", path: "/late", agent: false });
  gone.on("error", () => undefined);
  await askedLate.promise;
  gone.destroy();
  assert.equal(((await late.promise).reason as { code: string }).code, "INTERRUPTED", "asked for afterwards");
  await ask("/held");
  assert.ok(!of("/held").signal.aborted);
  stop.abort(new Error("the end"));
  assert.equal((of("/held").signal.reason as Error).message, "the end");
  assert.equal((of("/cut").signal.reason as { code: string }).code, "INTERRUPTED");
  assert.ok(!of("/answered").signal.aborted);
  assert.ok(calls.signalOf(new http.ServerResponse(new http.IncomingMessage(null as never))).aborted);
});
