import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import test, { type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { sendError, sendLines } from "./http.ts";

/** What whoever asks is answered: head and body. */
async function answered(t: TestContext, lines: AsyncIterable<unknown>): Promise<http.IncomingMessage> {
  const server = http.createServer((req, res) => {
    sendLines(res, lines, 5).catch((err: unknown) => sendError(req, res, err));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  atEnd(t, () => server.close());
  const { port } = server.address() as AddressInfo;
  const [response] = (await once(http.get({ host: "127.0.0.1", port }), "response")) as [
    http.IncomingMessage,
  ];
  return response;
}

test("who waits long for a first line is told at once that it is waited for", async (t) => {
  const come = Promise.withResolvers<void>();
  const response = await answered(
    t,
    (async function* () {
      await come.promise;
      yield { late: true };
    })(),
  );
  const [blank] = (await once(response, "data")) as [Buffer];
  assert.match(blank.toString(), /^\n+$/);
  come.resolve();
  assert.match(await text(response), /^\n*\{"late":true\}\n$/);
});

test("what fails before anything was sent is an ordinary error, later the last line", async (t) => {
  const fails = (after: readonly unknown[]) =>
    (async function* () {
      yield* after;
      await Promise.reject(new SkeinError("TOO_MANY", "too many"));
    })();
  const at = await answered(t, fails([]));
  assert.equal(at.statusCode, 429);
  assert.match(await text(at), /"TOO_MANY"/);
  const later = await answered(t, fails([{ one: 1 }]));
  assert.equal(later.statusCode, 200);
  assert.match(await text(later), /^\{"one":1\}\n\n*\{"error":\{"code":"TOO_MANY".*\}\}\n$/);
});
