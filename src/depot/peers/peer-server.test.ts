import assert from "node:assert/strict";
import { once } from "node:events";
import { test, type TestContext } from "node:test";
import tls from "node:tls";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";
import { generateSigner, spkiDigestOf } from "../../trust/keys/keys.ts";
import { pinnedClient } from "../../trust/connection/http-client.ts";
import { ephemeralIdentity, tlsIdentity } from "../../trust/connection/tls.ts";
import { PIECES_PATH } from "./peer-wire.ts";
import { servePeers, type PeerServerOptions } from "./peer-server.ts";

interface Served {
  readonly port: number;
  /** Asks for a piece as a node of its own, each time on a connection of its own. */
  readonly node: () => (name: string) => Promise<number | undefined>;
}

async function served(t: TestContext, more: Partial<PeerServerOptions>): Promise<Served> {
  const server = generateSigner();
  const members = new Set<string>();
  const peers = await servePeers({
    identity: tlsIdentity(server.privateKey, "peer"),
    host: "127.0.0.1",
    port: 0,
    admits: async (node) => members.has(node),
    give: async () => ({ bytes: Buffer.from("a"), ends: true }),
    ...more,
  });
  atEnd(t, async () => await peers[Symbol.asyncDispose]());
  return {
    port: peers.port,
    node: () => {
      const signer = generateSigner();
      members.add(signer.kid);
      const identity = tlsIdentity(signer.privateKey, "node");
      return async (name) => {
        const pins = [spkiDigestOf(server.pub)];
        const client = pinnedClient({ host: "127.0.0.1", port: peers.port, pins, identity });
        atEnd(t, () => client.close());
        const path = `${PIECES_PATH}${name}`;
        const response = await client.send({ method: "GET", path, headers: { range: "bytes=0-0" } });
        response.resume();
        return response.statusCode;
      };
    },
  };
}

test("strangers who say nothing keep no place from nodes of the cluster", async (t) => {
  const { port, node } = await served(t, {});
  const { key, cert } = ephemeralIdentity();
  const strangers: tls.TLSSocket[] = [];
  for (let n = 0; n < 70; n++) {
    const socket = tls.connect({ host: "127.0.0.1", port, key, cert, rejectUnauthorized: false });
    atEnd(t, () => socket.destroy());
    strangers.push(socket.on("error", () => undefined).resume());
    await once(socket, "secureConnect");
  }
  await eventually("the oldest are ended", () => strangers.filter(({ closed }) => closed).length >= 6);
  assert.equal(strangers.at(-1)?.closed, false);
  assert.equal(await node()("packs/a"), 200);
});

test("a node that asks for much that does not come leaves others their turn", async (t) => {
  let waiting = 0;
  const { node } = await served(t, {
    atOnce: 10,
    give: async ({ name }, _held, signal) => {
      if (name === "packs/never") {
        waiting += 1;
        await once(signal, "abort");
      }
      return { bytes: Buffer.from("a"), ends: true };
    },
  });
  const greedy = node();
  const codes: (number | undefined)[] = [];
  for (let n = 0; n < 10; n++)
    greedy("packs/never").then(
      (code) => codes.push(code),
      (err: unknown) => codes.push(isSkeinError(err, "TOO_MANY") ? 429 : undefined),
    );
  await eventually("all ten have asked", () => waiting + codes.length === 10);
  assert.equal(await node()("packs/a"), 200);
});
