import { once } from "node:events";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { pinnedClient, type RequestOptions } from "../trust/http-client.ts";
import { ephemeralIdentity, serverTlsOptions } from "../trust/tls.ts";
import {
  answerWith,
  depotFaultsConformance,
  type BadDepot,
  type Honest,
} from "./depot-faults.conformance.ts";
import { httpDepot } from "./http.ts";

/** As a hub answers for a blob. */
function honest(bytes: Buffer, range: string | undefined): Honest {
  const [, start = "0", last = ""] = /^bytes=(\d+)-(\d*)$/.exec(range ?? "") ?? [];
  const body = bytes.subarray(Number(start), last === "" ? undefined : Number(last) + 1);
  return {
    status: range === undefined ? 200 : 206,
    headers: { "content-type": "application/octet-stream" },
    body,
  };
}

depotFaultsConformance(
  "http",
  { code: "HUB_UNREACHABLE", tellsSize: false },
  async (t, _name, bytes, patience) => {
    const identity = ephemeralIdentity();
    let requests = 0;
    const server = https.createServer(serverTlsOptions(identity), (req, res) => {
      answerWith(bad.misbehave((requests += 1)), honest(bytes, req.headers.range), res);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const client = pinnedClient({
      host: "127.0.0.1",
      port,
      pins: [identity.spki],
      identity: ephemeralIdentity(),
    });
    t.after(() => {
      client.close();
      server.close();
      server.closeAllConnections();
    });
    const clock = { now: () => Date.now(), sleep: async () => await Promise.resolve() };
    const transport = {
      name: client.address,
      raw: async (request: RequestOptions) => await client.send(request),
    };
    const bad: BadDepot = {
      reader: httpDepot(transport, { clock, ...patience }),
      misbehave: () => undefined,
      requests: () => requests,
    };
    return bad;
  },
);
