/**
 * Gives pieces of blobs to other nodes of the cluster. Whoever asks is known by the key of its connection; only names
 * of blobs can be asked for, and only what a cache may hold is given.
 */
import type http from "node:http";
import https from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { ERROR_CODES } from "../../lib/errors/error-codes.ts";
import { isSkeinError, SkeinError, toWire } from "../../lib/errors/errors.ts";
import type { KeyId } from "../../lib/text/ids.ts";
import { listening } from "../../lib/process/listening.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { AnonymousRate } from "../../trust/connection/anonymous-rate.ts";
import { boundHandshakes } from "../../trust/connection/handshakes.ts";
import { KnownCallers } from "../../trust/connection/known-callers.ts";
import { Strangers } from "../../trust/connection/strangers.ts";
import { keyIdOf } from "../../trust/keys/keys.ts";
import { peerKey, serverTlsOptions, type TlsIdentity } from "../../trust/connection/tls.ts";
import { checkBlobName } from "../seam/blob-name.ts";
import type { PieceRange } from "../cache/cached.ts";
import { ENDS_HEADER, HELD_HEADER, PIECES_PATH, PROCESSING_MS, WAITED_HEADER } from "./peer-wire.ts";
import { PIECE_BYTES } from "../cache/piece-file.ts";
import type { PeerAnswer } from "./swarm.ts";

export interface PeerServerOptions {
  readonly identity: TlsIdentity;
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** Whether this key is a node of the cluster now. */
  readonly admits: (node: KeyId) => Promise<boolean>;
  /** @throws SkeinError BLOB_MISSING, and what reading from afar throws */
  readonly give: (want: PieceRange, held: boolean, signal: AbortSignal) => Promise<PeerAnswer>;
  /** Waits until so many bytes may be sent. Default: at once. */
  readonly pace?: ((bytes: number, signal: AbortSignal) => Promise<void>) | undefined;
  /** Pieces asked for at a time, each of which may take 256 KiB of memory. Default 48. */
  readonly atOnce?: number | undefined;
}

export interface PeerServer extends AsyncDisposable {
  readonly port: number;
}

const AT_ONCE = 48;
/** Of these, one node's: it asks for three at a time. Who asks for what comes to nobody would have them all. */
const AT_ONCE_BY_ONE = 8;
const MAX_CONNECTIONS = 512;
const HANDSHAKES = { perAddress: 64, inAll: 128 } as const;
const STRANGERS = { graceMs: 10_000, perAddress: 64, inAll: 128 } as const;
/** Whoever is not known is looked up at the hub: so many a second, of one address. */
const STRANGERS_PER_SEC = 100;
/** A node keeps three, and may have been started anew. */
const PER_NODE = 16;
/** A connection without a request for so long is ended; clients give up theirs a little sooner. */
const IDLE_MS = 25_000;
const HEADERS_MS = 5000;
/** Longest wait for a piece that is on its way here, in ms; whoever asks has less patience. */
const GIVE_MS = 60_000;

/** @throws SkeinError PORT_TAKEN, IO */
export async function servePeers(options: PeerServerOptions): Promise<PeerServer> {
  const server = https.createServer({ ...serverTlsOptions(options.identity), maxHeaderSize: 4096 });
  const stop = new AbortController();
  const desk = new Desk(options, stop.signal);
  boundHandshakes(server, HANDSHAKES);
  server.on("secureConnection", (socket) => desk.came(socket));
  server.on("request", (req, res) => void desk.answer(req, res));
  server.on("clientError", (_err, socket: Socket) => socket.destroy());
  server.maxConnections = MAX_CONNECTIONS;
  server.headersTimeout = HEADERS_MS;
  server.keepAliveTimeout = IDLE_MS;
  server.setTimeout(IDLE_MS + GIVE_MS);
  await listening("what serves peers", server, options);
  server.unref();
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      stop.abort(new SkeinError("INTERRUPTED", "the agent ends"));
      server.close();
      server.closeAllConnections();
    },
  };
}

class Desk {
  readonly #options: PeerServerOptions;
  readonly #signal: AbortSignal;
  readonly #strangers = new Strangers(STRANGERS);
  readonly #rate = new AnonymousRate(systemClock, STRANGERS_PER_SEC);
  readonly #nodes = new KnownCallers<KeyId>(PER_NODE);
  /** Connections through which a node of the cluster has asked. */
  readonly #admitted = new WeakSet<Socket>();
  /** How many pieces each node is being given. */
  readonly #giving = new Map<KeyId, number>();
  #given = 0;

  constructor(options: PeerServerOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
  }

  came(socket: TLSSocket): void {
    this.#strangers.came(socket, socket.remoteAddress ?? "");
  }

  async answer(req: http.IncomingMessage, res: http.ServerResponse): Promise<void> {
    const closed = new AbortController();
    res.once("close", () => closed.abort(new SkeinError("INTERRUPTED", "who asked has gone")));
    const signal = AbortSignal.any([closed.signal, this.#signal, AbortSignal.timeout(GIVE_MS)]);
    try {
      const node = await this.#admit(req);
      using _turn = this.#turn(node);
      await this.#give(req, res, signal);
    } catch (err) {
      refuse(res, err);
    }
  }

  /** For those who were let in: who is not must not be in their way. @throws SkeinError TOO_MANY */
  #turn(node: KeyId): Disposable {
    const own = this.#giving.get(node) ?? 0;
    if (this.#given >= (this.#options.atOnce ?? AT_ONCE) || own >= AT_ONCE_BY_ONE)
      throw new SkeinError("TOO_MANY", "too many ask at once");
    this.#given += 1;
    this.#giving.set(node, own + 1);
    return { [Symbol.dispose]: () => this.#ended(node) };
  }

  #ended(node: KeyId): void {
    this.#given -= 1;
    const others = (this.#giving.get(node) ?? 1) - 1;
    if (others > 0) this.#giving.set(node, others);
    else this.#giving.delete(node);
  }

  async #give(req: http.IncomingMessage, res: http.ServerResponse, signal: AbortSignal): Promise<void> {
    const want = wantOf(req);
    const telling = setInterval(() => res.writeProcessing(), PROCESSING_MS);
    const began = performance.now();
    let answer: PeerAnswer;
    let waitedMs: number;
    try {
      answer = await this.#options.give(want, req.headers[HELD_HEADER] === "1", signal);
      waitedMs = Math.round(performance.now() - began);
      await this.#options.pace?.(answer.bytes.length, signal);
    } finally {
      clearInterval(telling);
    }
    const { bytes, ends } = answer;
    const told = { [ENDS_HEADER]: ends ? "1" : "0", [WAITED_HEADER]: waitedMs };
    res.writeHead(200, { "content-length": bytes.length, ...told });
    res.end(bytes);
  }

  /** Asked anew for every piece: who was revoked is let in no more. @throws SkeinError UNKNOWN_CLIENT, TOO_MANY */
  async #admit(req: http.IncomingMessage): Promise<KeyId> {
    const { socket } = req;
    if (!this.#admitted.has(socket)) this.#rate.take(socket.remoteAddress ?? "");
    const pub = peerKey(socket as TLSSocket)?.key.export({ format: "jwk" }).x;
    const node = pub === undefined ? undefined : keyIdOf({ alg: "raw", pub });
    if (node === undefined || !(await this.#options.admits(node)))
      throw new SkeinError("UNKNOWN_CLIENT", "this key belongs to no node of the cluster");
    this.#admitted.add(socket);
    this.#strangers.known(socket);
    this.#nodes.came(node, socket);
    return node;
  }
}

/** @throws SkeinError BAD_REQUEST */
function wantOf(req: http.IncomingMessage): PieceRange {
  const url = req.url ?? "";
  const name = url.startsWith(PIECES_PATH) && req.method === "GET" ? url.slice(PIECES_PATH.length) : "";
  checkBlobName(name);
  const [, first, last] = /^bytes=(\d{1,15})-(\d{1,15})$/.exec(req.headers.range ?? "") ?? [];
  const [start, end] = [Number(first), Number(last) + 1];
  const isOnePiece = Math.floor(start / PIECE_BYTES) === Math.floor((end - 1) / PIECE_BYTES);
  if (end > start && isOnePiece) return { name, start, end };
  throw new SkeinError("BAD_REQUEST", "a peer is asked for a range of one piece");
}

function refuse(res: http.ServerResponse, err: unknown): void {
  if (res.headersSent || res.destroyed) {
    res.destroy();
    return;
  }
  const body = JSON.stringify({ error: toWire(err) });
  // A stranger has no connection to keep.
  const keeping = isSkeinError(err, "UNKNOWN_CLIENT") ? { connection: "close" } : {};
  res.writeHead(statusOf(err), { "content-length": Buffer.byteLength(body), ...keeping });
  res.end(body);
}

function statusOf(err: unknown): number {
  if (isSkeinError(err, "BLOB_MISSING")) return 404;
  if (isSkeinError(err, "TOO_MANY")) return 429;
  if (isSkeinError(err, "UNKNOWN_CLIENT")) return 401;
  return isSkeinError(err) && ERROR_CODES[err.code].exit === 2 ? 400 : 503;
}
