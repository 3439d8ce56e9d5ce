/** One HTTP request and its answer, with a limit on every wait. Knows nothing of S3, nothing of retries. */
import { once } from "node:events";
import http from "node:http";
import https from "node:https";
import type { Socket } from "node:net";
import timers from "node:timers/promises";
import { ConnectionTurns } from "../../trust/connection/connection-turns.ts";
import { drained } from "../../lib/async/drained.ts";
import { errnoOf, messageOf, SkeinError } from "../../lib/errors/errors.ts";
import { PACE, paced, type Pace } from "../seam/pace.ts";

export interface Patience {
  /** For connection and handshake, in ms. */
  readonly connectMs: number;
  /** From the last byte sent to the answer's head, and for a standstill while sending, in ms. */
  readonly answerMs: number;
  /** Slowest body that is borne with. */
  readonly pace: Pace;
}

export const PATIENCE: Patience = { connectMs: 5000, answerMs: 20_000, pace: PACE };

export interface Outgoing {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array | AsyncIterable<Uint8Array> | undefined;
  readonly signal: AbortSignal;
}

export interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  /** To be read from the start, else discarded. Throws LineFailed. */
  readonly body: AsyncIterable<Uint8Array>;
  discard(): void;
}

/** The line was cut, stood still, or what came over it is not HTTP: worth another try. */
export class LineFailed extends Error {}

/** The body could not be read here: no fault of the line, and no use in trying again. */
export class SourceFailed extends Error {}

export interface Line extends Disposable {
  exchange(request: Outgoing): Promise<Answer>;
}

export const MAX_SOCKETS = 32;
/** Bodies from this size on are sent when the server has said that it wants them. */
const ASK_FROM_BYTES = 1024 * 1024;
/** Servers that know nothing of `Expect` stay silent. */
const ASK_MS = 1000;

/** Keeps connections to one server open. `ca`: certificates that are trusted besides the built-in ones. */
export function openLine(secure: boolean, ca: readonly string[] | undefined, patience: Patience): Line {
  const turns = new ConnectionTurns(MAX_SOCKETS, false);
  const settings = { keepAlive: true, proxyEnv: process.env };
  const agent = secure
    ? new https.Agent({ ...settings, ...(ca === undefined ? {} : { ca: [...ca] }) })
    : new http.Agent(settings);
  const open = secure ? https.request : http.request;
  return {
    exchange: async (request) => {
      const end = turns.takeFree() ?? (await turns.take(request.signal));
      try {
        return await exchange(open, agent, request, patience, () => setImmediate(end));
      } catch (err) {
        end();
        throw err;
      }
    },
    [Symbol.dispose]: () => {
      agent.destroy();
    },
  };
}

/** @param onOver told when the answer was read or discarded */
async function exchange(
  open: typeof http.request,
  agent: http.Agent,
  request: Outgoing,
  patience: Patience,
  onOver: () => void,
): Promise<Answer> {
  const { method, url, headers, body, signal } = request;
  signal.throwIfAborted();
  const asks = Number(headers["content-length"] ?? 0) >= ASK_FROM_BYTES;
  const expect = asks ? { expect: "100-continue" } : {};
  const req = open(url, { agent, method, headers: { ...headers, ...expect }, signal });
  const answered = Promise.withResolvers<http.IncomingMessage>();
  req.once("response", answered.resolve);
  req.on("error", (err) => {
    answered.reject(signal.aborted ? (signal.reason as Error) : failed(err));
  });
  using _limits = limitWaits(req, patience);
  const sent = (asks ? invited(req, answered.promise) : Promise.resolve()).then(() => send(req, body));
  sent.catch((err: unknown) => {
    answered.reject(failed(err));
    req.destroy();
  });
  const response = await answered.promise;
  response.once("close", onOver);
  const discard = (): void => {
    response.on("error", () => undefined);
    response.destroy();
    // Answered before it had taken all: nobody needs the rest.
    if (!req.writableEnded) req.destroy();
  };
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body: incoming(response, patience.pace, signal, discard),
    discard,
  };
}

/** Resolves when the server wants the body, or does not say. */
async function invited(req: http.ClientRequest, answered: Promise<unknown>): Promise<void> {
  const stop = new AbortController();
  const { signal } = stop;
  try {
    req.flushHeaders();
    const silence = timers.setTimeout(ASK_MS, undefined, { signal, ref: false });
    const outcomes = [once(req, "continue", { signal }), silence, answered];
    for (const outcome of outcomes) outcome.catch(() => undefined);
    await Promise.race(outcomes);
  } finally {
    stop.abort();
  }
}

async function send(req: http.ClientRequest, body: Outgoing["body"]): Promise<void> {
  if (body === undefined || body instanceof Uint8Array) {
    req.end(body);
    return;
  }
  for await (const piece of body) {
    if (req.destroyed) return;
    if (!req.write(piece)) await drained(req);
  }
  req.end();
}

/** Ends the request when it waits too long for a connection, while sending, or for the answer's head. */
function limitWaits(req: http.ClientRequest, patience: Patience): Disposable {
  const late = (what: string): void => {
    req.destroy(new LineFailed(what));
  };
  let timer: NodeJS.Timeout | undefined;
  req.once("socket", (socket: Socket) => {
    if (!socket.connecting) return;
    timer = setTimeout(late, patience.connectMs, "no connection in time");
    socket.once("encrypted" in socket ? "secureConnect" : "connect", () => clearTimeout(timer));
  });
  req.setTimeout(patience.answerMs, () => late("it took nothing more"));
  const sent = (): void => {
    clearTimeout(timer);
    timer = setTimeout(late, patience.answerMs, "no answer in time");
  };
  req.once("finish", sent);
  return {
    [Symbol.dispose]() {
      clearTimeout(timer);
      req.setTimeout(0);
      // What becomes of a body that nobody wants any more is no news. Node's own listeners see to the connection.
      req.off("finish", sent);
    },
  };
}

async function* incoming(
  response: http.IncomingMessage,
  pace: Pace,
  signal: AbortSignal,
  done: () => void,
): AsyncGenerator<Uint8Array, void> {
  try {
    yield* paced(response, pace, () => new LineFailed("the answer came too slowly"));
  } catch (err) {
    signal.throwIfAborted();
    throw failed(err);
  } finally {
    done();
  }
}

/** What Node says of a certificate that does not hold, as OpenSSL names it; not of one of ours that was refused. */
const UNTRUSTED = /^(?!ERR_SSL_).*(?:CERT|VERIFY_LEAF|HOSTNAME_MISMATCH)/;

function failed(err: unknown): Error {
  if (err instanceof LineFailed || err instanceof SourceFailed || err instanceof SkeinError) return err;
  const why = errnoOf(err) ?? messageOf(err);
  if (!UNTRUSTED.test(why)) return new LineFailed(why, { cause: err });
  // To ask again helps nobody.
  return new SkeinError(
    "DEPOT_SETTINGS",
    `the bucket's server shows a certificate that is not trusted: ${why}`,
    {
      hint: "For a server of your own name a file with its CA's certificate in AWS_CA_BUNDLE.",
      cause: err,
    },
  );
}
