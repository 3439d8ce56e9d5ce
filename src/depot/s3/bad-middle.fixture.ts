import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import type { TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { answerWith, type Fault } from "../seam/depot-faults.conformance.ts";
import type { S3Server } from "./s3-server.fixture.ts";

/** A server before the S3 server that passes everything on, and misbehaves where it is told to. */
export interface BadMiddle {
  /** What a client needs to go through it. */
  readonly env: Readonly<Record<string, string>>;
  /** Decides on each request; undefined: the honest answer. */
  misbehave: (request: http.IncomingMessage) => Fault | undefined;
  /** A request goes on when this resolves. */
  hold: (request: http.IncomingMessage) => Promise<void>;
  /** Changes an honest answer's body. */
  distort: (request: http.IncomingMessage, body: Buffer) => Buffer;
  /** Whether ranges are kept from the server. */
  dropRange: boolean;
}

export async function badMiddle(t: TestContext, server: S3Server): Promise<BadMiddle> {
  const agent = new http.Agent({ keepAlive: true });
  const proxy = http.createServer((req, res) => {
    void (async () => {
      const fault = middle.misbehave(req);
      await middle.hold(req);
      if (middle.dropRange) delete req.headers.range;
      const answer = await passOn(server, agent, req);
      if (fault === undefined && req.method === "HEAD") res.writeHead(answer.status, answer.headers).end();
      else answerWith(fault, { ...answer, body: middle.distort(req, answer.body) }, res);
    })().catch(() => res.destroy());
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  atEnd(t, () => {
    proxy.close();
    proxy.closeAllConnections();
    agent.destroy();
  });
  const endpoint = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  const middle: BadMiddle = {
    env: { ...server.env, AWS_ENDPOINT_URL: endpoint },
    misbehave: () => undefined,
    hold: async () => await Promise.resolve(),
    distort: (_request, body) => body,
    dropRange: false,
  };
  return middle;
}

/** The host stays as the client signed it. */
async function passOn(
  { endpoint }: S3Server,
  agent: http.Agent,
  req: http.IncomingMessage,
): Promise<{ status: number; headers: http.IncomingHttpHeaders; body: Buffer }> {
  const url = new URL(req.url ?? "/", endpoint);
  const { expect: _expect, ...headers } = req.headers;
  const onward = http.request(url, { agent, method: req.method ?? "GET", headers });
  req.pipe(onward);
  const [answer] = (await once(onward, "response")) as [http.IncomingMessage];
  const { "transfer-encoding": _encoding, connection: _connection, ...kept } = answer.headers;
  return { status: answer.statusCode ?? 0, headers: kept, body: await buffer(answer) };
}
