import assert from "node:assert/strict";
import { once } from "node:events";
import { test, type TestContext } from "node:test";
import tls from "node:tls";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";
import { generateSigner, spkiDigestOf } from "../../trust/keys/keys.ts";
import { pinnedClient, type RequestOptions } from "../../trust/connection/http-client.ts";
import { ephemeralIdentity, tlsIdentity } from "../../trust/connection/tls.ts";
import { PIECES_PATH } from "./peer-wire.ts";
import { servePeers, type PeerServerOptions } from "./peer-server.ts";

interface Served {
  readonly port: number;
  /** Asks for a piece as a node of its own, each time on a connection of its own. */
  readonly node: () => (name: string, more?: Partial<RequestOptions>) => Promise<number | undefined>;
  readonly end: () => Promise<void>;
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
  const end = async (): Promise<void> => await peers[Symbol.asyncDispose]();
  atEnd(t, end);
  return {
    port: peers.port,
    end,
    node: () => {
      const signer = generateSigner();
      members.add(signer.kid);
      const identity = tlsIdentity(signer.privateKey, "node");
      return async (name, more) => {
        const pins = [spkiDigestOf(server.pub)];
        const client = pinnedClient({ host: "127.0.0.1", port: peers.port, pins, identity });
        atEnd(t, () => client.close());
        const path = `${PIECES_PATH}${name}`;
        const response = await client.send({
          method: "GET",
          path,
          headers: { range: "bytes=0-0" },
          timeoutMs: 5000,
          ...more,
        });
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

/** Gives what is asked for when it is let go on. */
function held(): {
  readonly give: PeerServerOptions["give"];
  readonly signals: AbortSignal[];
  go: () => void;
} {
  const signals: AbortSignal[] = [];
  const waiting: (() => void)[] = [];
  return {
    signals,
    go: () => waiting.splice(0).forEach((next) => next()),
    give: async (_want, _held, signal) => {
      signals.push(signal);
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      waiting.push(resolve);
      signal.addEventListener("abort", () => reject(signal.reason));
      await promise;
      return { bytes: Buffer.from("a"), ends: true };
    },
  };
}

/** The code of who is refused, 200 of who is given something. */
const codeOf = async (asked: Promise<unknown>): Promise<unknown> =>
  await asked.catch((err: unknown) => (isSkeinError(err) ? err.code : err));

test("so many are given a piece at a time, and a turn that ended is the next one's", async (t) => {
  const { give, signals, go } = held();
  const { node } = await served(t, { atOnce: 2, give });
  const [one, two, three] = [node(), node(), node()];
  for (let round = 1; round <= 3; round++) {
    const given = [codeOf(one("packs/a")), codeOf(two("packs/a"))];
    await eventually("both are at it", () => signals.length === 2 * round);
    assert.equal(await codeOf(three("packs/a")), "TOO_MANY");
    go();
    assert.deepEqual(await Promise.all(given), [200, 200]);
  }
});

test("one node is given eight pieces at a time, and eight again when these are through", async (t) => {
  const { give, signals, go } = held();
  const { node } = await served(t, { give });
  const one = node();
  for (let round = 1; round <= 2; round++) {
    const given = Array.from({ length: 8 }, () => codeOf(one("packs/a")));
    await eventually("all are at it", () => signals.length === 8 * round);
    assert.equal(await codeOf(one("packs/a")), "TOO_MANY");
    go();
    assert.deepEqual(new Set(await Promise.all(given)), new Set([200]));
  }
});

test("nothing is sought any more for who hung up, nor for anybody when the agent ends", async (t) => {
  const { give, signals } = held();
  const { node, end } = await served(t, { give });
  const leaving = new AbortController();
  const left = codeOf(node()("packs/a", { signal: leaving.signal }));
  await eventually("it is asked for", () => signals.length === 1);
  leaving.abort();
  await left;
  await eventually("it is given up", () => signals[0]?.aborted === true);
  const cut = codeOf(node()("packs/a"));
  await eventually("another one is asked for", () => signals.length === 2);
  await end();
  assert.equal(signals[1]?.aborted, true);
  await cut;
  assert.equal(await codeOf(node()("packs/a")), "HUB_UNREACHABLE", "nor does it listen");
});

test("what is given waits until it may go out", async (t) => {
  const paced: number[] = [];
  const { node } = await served(t, { pace: async (bytes) => void paced.push(bytes) });
  await node()("packs/a");
  assert.deepEqual(paced, [1]);
});

test("only a range within one piece of a blob is given, and only by GET", async (t) => {
  const asked: unknown[] = [];
  const { node } = await served(t, {
    give: async (want) => {
      asked.push(want);
      return { bytes: Buffer.from("a"), ends: true };
    },
  });
  const one = node();
  const ranged = async (range: string) => await codeOf(one("packs/a", { headers: { range } }));
  for (const range of ["", "bytes=0-", "bytes=-1", "bytes=5-4", "bytes=0-0,2-2", "bytes=262143-262144"])
    assert.equal(await ranged(range), "BAD_REQUEST", range);
  for (const name of ["../a", "packs/../a", "packs//a", ""])
    assert.equal(await codeOf(one(name)), "BAD_REQUEST", name);
  assert.equal(await codeOf(one("", { path: PIECES_PATH.replace("v1", "v9") + "packs/a" })), "BAD_REQUEST");
  assert.equal(await codeOf(one("packs/a", { method: "POST", body: "a" })), "BAD_REQUEST");
  assert.deepEqual(asked, []);
  assert.equal(await ranged("bytes=262144-524287"), 200);
  assert.deepEqual(asked, [{ name: "packs/a", start: 262_144, end: 524_288 }]);
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
