import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import http2 from "node:http2";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../../lib/testing/free-port.fixture.ts";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { selfSignedCertificate } from "../../trust/connection/x509.ts";
import { bench, deploy, listenAt, processPlan, releasePlan, type Bench } from "./runtime.fixture.ts";
import type { ReleasePlan } from "./release-plan.ts";

const SWAPS = 3;
/** Each answer takes that long, in ms: there are always streams that a hand-over finds open. */
const ANSWER_MS = 60;
/** A connection takes 100: what waits in the client for its turn there would be another matter. */
const AT_ONCE = 50;
const WINDOW_MS = 400;

/**
 * Asks over HTTP/2 as browsers do: many streams on one connection, and another connection as soon as the server says
 * GOAWAY. What fails is lost; only a request that GOAWAY says is not answered, or that had not left when it came, is
 * asked on the next connection (RFC 9113, 6.8 and 8.7).
 */
class Streams {
  readonly #port: number;
  readonly #stop = new AbortController();
  readonly #open = new Set<Promise<void>>();
  readonly #asking: Promise<void>;
  #session: http2.ClientHttp2Session | undefined;
  readonly bodies: Record<string, number> = {};
  readonly lost: string[] = [];
  sessions = 0;

  constructor(port: number) {
    this.#port = port;
    this.#asking = this.#ask();
  }

  async end(): Promise<void> {
    this.#stop.abort();
    await this.#asking;
    await Promise.all(this.#open);
    this.#session?.destroy();
  }

  async #ask(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      if (this.#open.size < AT_ONCE) {
        const stream = this.#stream();
        this.#open.add(stream);
        void stream.finally(() => this.#open.delete(stream));
      }
      await sleep(5);
    }
  }

  async #stream(): Promise<void> {
    const session = this.#current();
    const stream = session.request({ ":path": "/" });
    try {
      const body = await textOf(stream);
      this.bodies[body] = (this.bodies[body] ?? 0) + 1;
    } catch (err) {
      if (session.closed && stream.rstCode === http2.constants.NGHTTP2_REFUSED_STREAM) await this.#stream();
      else this.lost.push(String(err));
    }
  }

  #current(): http2.ClientHttp2Session {
    if (this.#session !== undefined && !this.#session.closed && !this.#session.destroyed)
      return this.#session;
    this.sessions += 1;
    const session = http2.connect(`https://127.0.0.1:${this.#port}`, { rejectUnauthorized: false });
    session.on("error", () => undefined); // its streams tell
    return (this.#session = session);
  }
}

async function textOf(stream: http2.ClientHttp2Stream): Promise<string> {
  let text = "";
  for await (const part of stream.setEncoding("utf8")) text += String(part);
  if (text === "") throw new Error(`no answer (${stream.rstCode})`);
  return text;
}

function appOf(b: Bench, port: number, version: number, own = ""): ReleasePlan {
  const { privateKey } = generateKeyPairSync("ed25519");
  const key = JSON.stringify(privateKey.export({ type: "pkcs8", format: "pem" }));
  const cert = JSON.stringify(selfSignedCertificate(privateKey, "x"));
  const app = `const s = require("http2").createSecureServer({ key: ${key}, cert: ${cert}, allowHTTP1: true },
    (q, r) => q.method === "GET" && setTimeout(() => r.end("v${version}"), ${ANSWER_MS})).listen(+process.env.PORT);${own}`;
  return releasePlan(
    b.release({ "app.js": app }),
    processPlan("node app.js", {
      listen: { http: listenAt(port, { protocol: "tls" }) },
      ready: { ...processPlan("x").ready, check: { type: "http", path: "/", socket: "http", tls: true } },
      drain: { signal: "TERM", windowMs: WINDOW_MS, withinMs: 20_000, now: "KILL" },
    }),
  );
}

for (const [kind, own] of [
  ["", ""],
  [" with a handler of its own", 'process.on("SIGTERM", () => s.close(() => process.exit(0)));'],
] as const) {
  test(`swaps of an HTTP/2 server${kind} lose no stream`, async (t) => {
    const b = await bench(t);
    const port = await freePort();
    let old = appOf(b, port, 0, own);
    await deploy(b.runtime, old, undefined, b.signal);
    const streams = new Streams(port);
    atEnd(t, async () => await streams.end());
    await sleep(150);
    let cut = 0;
    for (let n = 1; n <= SWAPS; n++) {
      const next = appOf(b, port, n, own);
      cut += (await deploy(b.runtime, next, old, b.signal)).retired?.cut ?? 0;
      old = next;
    }
    await sleep(150);
    await streams.end();
    assert.deepEqual([streams.lost, cut], [[], 0]);
    assert.deepEqual(Object.keys(streams.bodies), ["v0", "v1", "v2", "v3"]);
    assert.ok(streams.sessions > SWAPS, "each version told its clients to go");
  });
}

// While a session closes it keeps its program running no more than this one does, for a moment.
test("a program whose HTTP/2 session is all that it has stays until the session's connection is closed", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const waits = `s.prependListener("session", (session) => session.unref());
    s.on("stream", (stream) => stream.on("end", () => stream.end("v0")).resume());`;
  const old = appOf(b, port, 0, waits);
  await deploy(b.runtime, old, undefined, b.signal);
  const session = http2.connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
  session.on("error", () => undefined);
  atEnd(t, () => session.destroy());
  const stream = session.request({ ":path": "/", ":method": "POST" });
  const answer = textOf(stream);
  const goodbye = once(session, "goaway");
  const swapped = deploy(b.runtime, appOf(b, port, 1), old, b.signal);
  await goodbye;
  await sleep(WINDOW_MS + 200); // since its window is over the old one has had nothing to do
  stream.end();
  assert.equal(await answer, "v0");
  assert.equal((await swapped).retired?.cut, 0);
});
