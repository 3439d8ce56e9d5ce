import { once } from "node:events";
import https from "node:https";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { toWire } from "../../lib/errors/errors.ts";
import { pinnedClient, type RequestOptions } from "../../trust/connection/http-client.ts";
import { ephemeralIdentity, serverTlsOptions } from "../../trust/connection/tls.ts";
import { answerWith, type Fault } from "../seam/depot-faults.conformance.ts";
import type { DepotReader } from "../seam/depot.ts";
import type { BlobTransport } from "./http-depot.ts";

/** Answers for a depot's blobs as a hub does, and misbehaves where it is told to. */
export interface BadHub {
  readonly transport: BlobTransport;
  /** Decides on the `n`th request, from 1 on; undefined: the honest answer. */
  misbehave: (n: number) => Fault | undefined;
  /** Changes an honest answer's bytes. */
  distort: (name: string, body: Buffer) => Buffer;
  /** So far. */
  readonly requests: () => number;
}

export async function badHub(t: TestContext, honest: Pick<DepotReader, "get">): Promise<BadHub> {
  const identity = ephemeralIdentity();
  let requests = 0;
  const server = https.createServer(serverTlsOptions(identity), (req, res) => {
    const fault = hub.misbehave((requests += 1));
    void (async () => {
      const name = (req.url ?? "").replace("/v1/depot/blobs/", "");
      const [, start = "0", last = ""] = /^bytes=(\d+)-(\d*)$/.exec(req.headers.range ?? "") ?? [];
      const range = { start: Number(start), ...(last === "" ? {} : { end: Number(last) + 1 }) };
      const body = Buffer.concat(await Array.fromAsync(honest.get(name, t.signal, range)));
      const headers = { "content-type": "application/octet-stream" };
      const status = req.headers.range === undefined ? 200 : 206;
      answerWith(fault, { status, headers, body: hub.distort(name, body) }, res);
    })().catch((err: unknown) => res.writeHead(404).end(JSON.stringify({ error: toWire(err) })));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const pins = [identity.spki];
  const client = pinnedClient({ host: "127.0.0.1", port, pins, identity: ephemeralIdentity() });
  atEnd(t, () => {
    client.close();
    server.close();
    server.closeAllConnections();
  });
  const hub: BadHub = {
    transport: {
      name: client.address,
      raw: async (request: RequestOptions) => await client.send(request),
    },
    misbehave: () => undefined,
    distort: (_name, body) => body,
    requests: () => requests,
  };
  return hub;
}
