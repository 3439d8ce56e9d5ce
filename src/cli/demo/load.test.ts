import assert from "node:assert/strict";
import http from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import test from "node:test";
import timers from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { resultOf } from "./demo-bodies.ts";
import { LATE_MS, Load, type LoadReport } from "./load.ts";

async function server(
  t: test.TestContext,
  handler: http.RequestListener,
): Promise<{ host: string; port: number }> {
  const server = http.createServer(handler).listen(0, "127.0.0.1");
  await once(server, "listening");
  atEnd(t, () => server.close());
  return { host: "127.0.0.1", port: (server.address() as AddressInfo).port };
}

/** Lets the load run until both kinds of connection have had an answer, or none, then counts. */
async function someLoad(load: Load): Promise<LoadReport> {
  load.start();
  try {
    for (;;) {
      await timers.setTimeout(100);
      const report = await load.report();
      if (report.sent > 1) return report;
    }
  } finally {
    load.stop();
  }
}

test("right answers are counted by their text and none is lost", async (t) => {
  const target = await server(t, (_request, response) => response.end("beep boop\n"));
  const report = await someLoad(
    new Load({ targets: [target], perSecond: 50, right: (text) => text.startsWith("beep") }),
  );
  assert.equal(report.lost, 0, JSON.stringify(report));
  assert.equal(report.answers.get("beep boop"), report.sent);
});

test("a clock that is set meanwhile makes no answer late, and no more requests", async (t) => {
  const target = await server(t, (_request, response) => response.end("beep"));
  const load = new Load({ targets: [target], perSecond: 50, right: (text) => text === "beep" });
  const begun = Date.now();
  t.mock.method(Date, "now", () => begun + 60_000 * Math.floor(performance.now() % 60));
  const report = await someLoad(load);
  assert.equal(report.lost, 0, JSON.stringify(report));
  assert.ok(report.sent < 1000, JSON.stringify(report));
});

test("what this process itself was held up is nobody's loss", async (t) => {
  // On a thread of its own: it goes on, and ends idle connections, while this one stands still.
  const program = `
    const { parentPort } = require("node:worker_threads");
    const server = require("node:http").createServer({ keepAliveTimeout: 600, keepAliveTimeoutBuffer: 0 });
    server.on("request", (request, response) => {
      response.writeHead(200, { connection: request.headers.connection, "keep-alive": "timeout=5" }).end("beep");
    });
    server.listen(0, "127.0.0.1", () => parentPort.postMessage(server.address().port));`;
  const worker = new Worker(program, { eval: true });
  atEnd(t, async () => await worker.terminate());
  const [port] = (await once(worker, "message")) as [number];
  const load = new Load({
    targets: [{ host: "127.0.0.1", port }],
    perSecond: 100,
    right: (text) => text === "beep",
  });
  load.start();
  await timers.setTimeout(300);
  assert.equal((await load.report()).lost, 0);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LATE_MS + 500);
  await timers.setTimeout(300);
  const report = await load.report();
  load.stop();
  assert.equal(report.lost, 0, JSON.stringify(report));
  assert.ok(report.sent > 0 && report.sent < 150, JSON.stringify(report));
});

test("wrong text, wrong status, a cut body, a reset, a refusal and a late answer are each lost", async (t) => {
  const wrongText = await server(t, (_request, response) => response.end("boop"));
  const wrongStatus = await server(t, (_request, response) => response.writeHead(503).end("beep"));
  const cut = await server(t, (_request, response) => {
    response.writeHead(200, { "content-length": "100" });
    response.write("beep");
    setTimeout(() => response.destroy(), 20);
  });
  const late = await server(t, (_request, response) => setTimeout(() => response.end("beep"), LATE_MS + 50));
  const reset = await server(t, (request) => request.socket.resetAndDestroy());
  const gone = http.createServer().listen(0, "127.0.0.1");
  await once(gone, "listening");
  const refused = { host: "127.0.0.1", port: (gone.address() as AddressInfo).port };
  gone.close();
  await once(gone, "close");

  for (const [target, outcome] of [
    [wrongText, "wrong"],
    [wrongStatus, "wrong"],
    [cut, "cut"],
    [reset, "reset"],
    [refused, "refused"],
    [late, "late"],
  ] as const) {
    const report = await someLoad(
      new Load({ targets: [target], perSecond: 100, right: (text) => text.startsWith("beep") }),
    );
    assert.equal(report.lost, report.sent, outcome);
    assert.equal(report.byOutcome[outcome], report.sent, outcome);
  }
});

test("the demo fails when a single request was lost, and only then", () => {
  assert.deepEqual(resultOf({ lost: 0, sent: 1000 }), { lost: 0, sent: 1000 });
  assert.deepEqual(resultOf({ lost: 1, sent: 1000 }), { lost: 1, sent: 1000, exit: 1 });
});
