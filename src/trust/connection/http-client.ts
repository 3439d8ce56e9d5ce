/**
 * HTTP/1.1 over pinned TLS. One client keeps a few connections to one server; every connection is checked against
 * the pins before its first request, so a request never reaches anybody else.
 */
import http from "node:http";
import type { Duplex, Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { errnoOf, fromWire, SkeinError, type WireError } from "../../lib/errors/errors.ts";
import { hostPortText } from "../../lib/text/host-port.ts";
import { until } from "../../lib/time/until.ts";
import { ASK_AFTER_MS, connectPinned, type TlsIdentity } from "./tls.ts";
import { ConnectionTurns } from "./connection-turns.ts";

export interface PinnedClientOptions {
  readonly host: string;
  readonly port: number;
  readonly pins: readonly string[];
  readonly identity: TlsIdentity;
  /** Sent with every request: the session of an operator. */
  readonly headers?: Readonly<Record<string, string>>;
  /** For connecting and the handshake, in ms. Default 10 000. */
  readonly connectTimeoutMs?: number;
  /** Connections at a time. Default 16. */
  readonly maxSockets?: number;
  /** Short requests take turns on one connection. Default: each request that finds none free opens one. */
  readonly thrifty?: boolean;
}

export interface RequestOptions {
  readonly method: string;
  /** Begins with `/`. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | Readable | AsyncIterable<Uint8Array> | undefined;
  /** Until the response's head has come, in ms. Default 30 000. */
  readonly timeoutMs?: number | undefined;
  /** Told of each `102 Processing`: whoever answers is still at it. */
  readonly onProcessing?: () => void;
  readonly signal?: AbortSignal | undefined;
}

export interface PinnedClient extends Disposable {
  /** `host:port`, for messages. */
  readonly address: string;
  /** The response with its body unread. Statuses from 400 on are thrown as the error they carry. */
  send(options: RequestOptions): Promise<http.IncomingMessage>;
  /** A raw connection after `101 Switching Protocols`. */
  upgrade(options: RequestOptions & { readonly protocol: string }): Promise<Duplex>;
  /** The next connection is this one, which `connectPinned` opened with the same options in `openingMs`. */
  adopt(socket: Duplex, openingMs: number): void;
  /** Cuts every connection. */
  close(): void;
}

const DEFAULTS = {
  timeoutMs: 30_000,
  maxSockets: 16,
  /** Longer than an agent's time between two reports, shorter than a hub keeps an idle connection (65 s). */
  idleMs: 50_000,
  maxErrorBytes: 65_536,
  maxBodyBytes: 128 * 2 ** 20,
} as const;
const SLOWEST_BYTES_PER_MS = 16;

export function pinnedClient(options: PinnedClientOptions): PinnedClient {
  const address = hostPortText(options);
  const turns = new ConnectionTurns(options.maxSockets ?? DEFAULTS.maxSockets, options.thrifty === true);
  const agent = new PinnedAgent(options, turns);
  const closed = new AbortController();
  const close = (): void => {
    closed.abort(
      new SkeinError("HUB_UNREACHABLE", `${address}: the client was closed`, { data: { address } }),
    );
    agent.destroy();
  };
  const attempt = async (request: RequestOptions): Promise<http.IncomingMessage> => {
    const end = turns.takeFree() ?? (await turnFor(request, turns, address, closed.signal));
    try {
      const response = await exchange(agent, options, request, closed.signal);
      // Its connection is kept for others a moment after the last byte was read.
      response.once("close", () => setImmediate(end));
      return response;
    } catch (err) {
      end();
      throw err;
    }
  };
  return {
    address,
    async send(request) {
      const response = await onceMoreWhenStale(request, attempt);
      if ((response.statusCode ?? 500) >= 400) throw await errorOf(response, address);
      return response;
    },
    upgrade: async (request) => await upgrade(agent, options, request, closed.signal),
    adopt: (socket, openingMs) => agent.adopt(socket, openingMs),
    close,
    [Symbol.dispose]: close,
  };
}

/** The time until an answer begins counts from when it was asked for. @throws as the request would */
async function turnFor(
  request: RequestOptions,
  turns: ConnectionTurns,
  address: string,
  closed: AbortSignal,
): Promise<() => void> {
  const { signal, timeoutMs = DEFAULTS.timeoutMs } = request;
  using over = until(signal === undefined ? [closed] : [closed, signal], timeoutMs);
  try {
    return await turns.take(over.signal);
  } catch (err) {
    if (!over.signal.aborted) throw err;
    closed.throwIfAborted();
    signal?.throwIfAborted();
    throw late(address, request, timeoutMs);
  }
}

/** Opens sockets through `connectPinned`; `http`, not `https`: the TLS is ours. */
class PinnedAgent extends http.Agent {
  readonly #options: PinnedClientOptions;
  readonly #turns: ConnectionTurns;
  #ready: { readonly socket: Duplex; readonly openingMs: number } | undefined;

  constructor(options: PinnedClientOptions, turns: ConnectionTurns) {
    super({
      keepAlive: true,
      keepAliveMsecs: ASK_AFTER_MS,
      timeout: DEFAULTS.idleMs,
    });
    this.#options = options;
    this.#turns = turns;
  }

  adopt(socket: Duplex, openingMs: number): void {
    this.#ready?.socket.destroy();
    this.#ready = { socket, openingMs };
    // Nobody else listens before a request takes it.
    socket.on("error", () => undefined);
  }

  /** What was open beside a connection that failed may be as dead as that: whoever took it would wait as long again. */
  closeIdle(): void {
    for (const socket of Object.values(this.freeSockets).flatMap((some = []) => some)) socket.destroy();
  }

  override destroy(): void {
    this.#ready?.socket.destroy();
    super.destroy();
  }

  override createConnection(
    _options: http.ClientRequestArgs,
    callback?: (err: Error | null, stream: Duplex) => void,
  ): undefined {
    const ready = this.#ready;
    this.#ready = undefined;
    if (ready?.socket.writable === true) {
      this.#turns.opened(ready.openingMs);
      setImmediate(() => callback?.(null, ready.socket));
      return;
    }
    const { host, port, pins, identity, connectTimeoutMs } = this.#options;
    const timeout = connectTimeoutMs === undefined ? {} : { timeoutMs: connectTimeoutMs };
    const began = performance.now();
    connectPinned({ host, port, pins, identity, ...timeout }).then(
      (socket) => {
        this.#turns.opened(performance.now() - began);
        callback?.(null, socket);
      },
      (err: unknown) => {
        this.#turns.failed(err);
        // Node's type wants a stream beside the error; its agent reads only the error.
        callback?.(err as Error, undefined as unknown as Duplex);
      },
    );
  }
}

class StaleConnection extends Error {}

/** A kept connection may be closed by the server just as we write to it: then the request never arrived whole. */
async function onceMoreWhenStale(
  request: RequestOptions,
  attempt: (request: RequestOptions) => Promise<http.IncomingMessage>,
): Promise<http.IncomingMessage> {
  for (let tries = 0; ; tries++) {
    try {
      return await attempt(request);
    } catch (err) {
      if (!(err instanceof StaleConnection)) throw err;
      if (tries >= DEFAULTS.maxSockets || !isReplayable(request.body)) throw err.cause;
    }
  }
}

/** Can it be sent once more? */
export function isReplayable(body: RequestOptions["body"]): boolean {
  return body === undefined || typeof body === "string" || body instanceof Uint8Array;
}

async function exchange(
  agent: PinnedAgent,
  options: PinnedClientOptions,
  request: RequestOptions,
  closed: AbortSignal,
): Promise<http.IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>();
  const req = start(agent, options, request, closed);
  const address = hostPortText(options);
  const timeoutMs = request.timeoutMs ?? DEFAULTS.timeoutMs;
  const timer = setTimeout(() => req.destroy(late(address, request, timeoutMs)), timeoutMs);
  if (request.onProcessing !== undefined) req.on("information", request.onProcessing);
  let answered = false;
  req.once("response", (response) => {
    answered = true;
    response.once("close", () => response.errored !== null && agent.closeIdle());
    resolve(response);
  });
  req.on("error", (err) => {
    const isAborted = request.signal?.aborted === true;
    if (!isAborted) agent.closeIdle();
    const told = isAborted ? request.signal.reason : explain(err, address);
    reject(
      req.reusedSocket && !answered && isCut(err) ? new StaleConnection("stale", { cause: told }) : told,
    );
  });
  sendBody(req, request.body).catch((err: unknown) => reject(explain(err, address)));
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}

async function upgrade(
  agent: http.Agent,
  options: PinnedClientOptions,
  request: RequestOptions & { readonly protocol: string },
  closed: AbortSignal,
): Promise<Duplex> {
  const { promise, resolve, reject } = Promise.withResolvers<Duplex>();
  const address = hostPortText(options);
  const headers = { ...request.headers, connection: "Upgrade", upgrade: request.protocol };
  const req = start(agent, options, { ...request, headers }, closed);
  const timeoutMs = request.timeoutMs ?? DEFAULTS.timeoutMs;
  const timer = setTimeout(() => req.destroy(late(address, request, timeoutMs)), timeoutMs);
  req.once("upgrade", (_response, socket, head) => {
    if (head.length > 0) socket.unshift(head);
    resolve(socket);
  });
  req.once("response", (response) => void errorOf(response, address).then(reject, reject));
  req.on("error", (err) => reject(explain(err, address)));
  req.end();
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}

function start(
  agent: http.Agent,
  options: PinnedClientOptions,
  request: RequestOptions,
  closed: AbortSignal,
): http.ClientRequest {
  closed.throwIfAborted();
  request.signal?.throwIfAborted();
  const signal = request.signal === undefined ? closed : AbortSignal.any([closed, request.signal]);
  const req = http.request({
    agent,
    host: options.host,
    port: options.port,
    method: request.method,
    path: request.path,
    headers: { ...options.headers, ...request.headers },
    signal,
  });
  // HTTP/1.1 keeps connections without being asked to.
  if (!req.hasHeader("connection")) req.removeHeader("connection");
  return req;
}

async function sendBody(req: http.ClientRequest, body: RequestOptions["body"]): Promise<void> {
  if (body === undefined || typeof body === "string" || body instanceof Uint8Array) {
    if (body !== undefined) req.setHeader("content-length", Buffer.byteLength(body));
    req.end(body);
    return;
  }
  await pipeline(body, req);
}

/** The error that a response carries. */
async function errorOf(response: http.IncomingMessage, address: string): Promise<SkeinError> {
  const status = response.statusCode ?? 0;
  const text = await readBounded(response, DEFAULTS.maxErrorBytes);
  const wire = wireErrorIn(text);
  if (wire !== undefined) return fromWire({ ...wire, data: { ...wire.data, status } });
  return new SkeinError(status >= 500 ? "HUB_UNREACHABLE" : "BAD_REQUEST", `${address} answered ${status}`, {
    data: { address, status },
  });
}

async function readBounded(response: http.IncomingMessage, max: number): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > max) break;
      chunks.push(chunk);
    }
  } catch {
    // A cut body is judged by what came.
  }
  return Buffer.concat(chunks).toString("utf8");
}

function wireErrorIn(text: string): WireError | undefined {
  try {
    const { error } = JSON.parse(text) as { error?: WireError };
    return typeof error?.code === "string" && typeof error.message === "string" ? error : undefined;
  } catch {
    return undefined;
  }
}

function isCut(err: Error): boolean {
  return ["ECONNRESET", "EPIPE"].includes(errnoOf(err) ?? "") || err.message === "socket hang up";
}

function explain(err: unknown, address: string): unknown {
  if (err instanceof SkeinError) return err;
  if (err instanceof Error && err.cause instanceof SkeinError) return err.cause;
  const why = errnoOf(err) ?? (err instanceof Error ? err.message : String(err));
  return new SkeinError("HUB_UNREACHABLE", `${address}: ${why}`, { cause: err, data: { address } });
}

function late(address: string, request: RequestOptions, timeoutMs: number): SkeinError {
  const what = `${request.method} ${request.path}`;
  return new SkeinError("HUB_UNREACHABLE", `${address} did not answer ${what} within ${timeoutMs} ms`, {
    data: { address, timeoutMs },
  });
}

export interface BodyBounds {
  /** Default 128 MiB. */
  readonly maxBytes?: number;
  /** Time for a body of no bytes; each 16 bytes give it another ms. Default 30 000. */
  readonly graceMs?: number;
}

/** The whole body of a response as parsed JSON. @throws as `bytesOf` does, SyntaxError */
export async function jsonOf(response: http.IncomingMessage, bounds: BodyBounds = {}): Promise<unknown> {
  const bytes = await bytesOf(response, bounds);
  return bytes.length === 0 ? undefined : (JSON.parse(bytes.toString("utf8")) as unknown);
}

/**
 * The whole body of a response.
 *
 *   time = graceMs + bytes / 16 B/ms
 *
 * Bounded in both, since whoever answers may mean ill: a pinned key says who it is, not that it is honest.
 * @throws SkeinError DOC_TOO_BIG, HUB_UNREACHABLE (too slow)
 */
export async function bytesOf(response: http.IncomingMessage, bounds: BodyBounds = {}): Promise<Buffer> {
  const { maxBytes = DEFAULTS.maxBodyBytes, graceMs = DEFAULTS.timeoutMs } = bounds;
  const began = performance.now();
  const chunks: Buffer[] = [];
  let size = 0;
  const check = setInterval(
    () => {
      if (performance.now() - began <= graceMs + size / SLOWEST_BYTES_PER_MS) return;
      response.destroy(new SkeinError("HUB_UNREACHABLE", "the answer came too slowly"));
    },
    Math.min(1000, graceMs),
  );
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > maxBytes) throw new SkeinError("DOC_TOO_BIG", `an answer of more than ${maxBytes} bytes`);
      chunks.push(chunk);
    }
  } catch (err) {
    response.destroy();
    throw err;
  } finally {
    clearInterval(check);
  }
  return Buffer.concat(chunks, size);
}
