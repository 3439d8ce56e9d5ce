/**
 * TLS as Skein uses it: version 1.3 only, both ends show a certificate, and the only thing that counts is the digest
 * of the key in it (security.md 2.2). No system CA, no host names, no resumption: a resumed session shows no
 * certificate, and its ticket would be a bearer token, so the server issues none and the client keeps none.
 */
import { constants, generateKeyPairSync, type KeyObject } from "node:crypto";
import { isIP } from "node:net";
import tls from "node:tls";
import { errnoOf, SkeinError } from "../../lib/errors/errors.ts";
import { hostPortText } from "../../lib/text/host-port.ts";
import type { Digest } from "../../lib/text/ids.ts";
import { afterOwnMs } from "../../lib/time/own-time.ts";
import { selfSignedCertificate, spkiDigest } from "./x509.ts";

/** A private key in the form that TLS takes, with the digest by which the other side knows it. */
export interface TlsIdentity {
  readonly key: string;
  readonly cert: string;
  readonly spki: Digest;
}

export interface PeerKey {
  readonly spki: Digest;
  readonly key: KeyObject;
}

export interface ConnectOptions {
  readonly host: string;
  readonly port: number;
  /** Digests of which the server must hold one. */
  readonly pins: readonly string[];
  readonly identity: TlsIdentity;
  /** For connecting and the handshake together, in ms of this thread's own time. Default 10 000. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/** Two round trips over a line that a transfer fills take some seconds, and so does a first packet that is lost thrice. */
const CONNECT_TIMEOUT_MS = 10_000;
/** What a server gives whoever connects for the handshake. */
export const HANDSHAKE_MS = CONNECT_TIMEOUT_MS;
/**
 * What each address of a name has before the next is tried and it is given up: time for a first packet that is lost
 * once (TCP repeats it after 1 s). More would make a name wait longer whose first address is dead.
 */
const ADDRESS_MS = 1500;

/**
 * Silence on a connection after which TCP asks ten times, each second, whether its other end is there. Who opened it
 * notices within 22 s what a firewall forgot without a word, before a hub misses it (30 s). Who serves asks later: a
 * network that is away for a moment is not to look like an agent that ended.
 */
export const ASK_AFTER_MS = 12_000;
export const SERVER_ASKS_AFTER_MS = 30_000;

/** Nothing was said to anybody. */
export class NotConnected extends SkeinError {}

/** For hubs and nodes: the identity of a lasting Ed25519 key. */
export function tlsIdentity(key: KeyObject, name: string): TlsIdentity {
  return {
    key: key.export({ type: "pkcs8", format: "pem" }),
    cert: selfSignedCertificate(key, name),
    spki: spkiDigest(key),
  };
}

/** For operators: a key that lives as long as the process and is vouched for by a session document. */
export function ephemeralIdentity(): TlsIdentity {
  return tlsIdentity(generateKeyPairSync("ed25519").privateKey, "skein-session");
}

/** For `https.createServer`. Every handler must still ask `peerKey` before it answers. */
export function serverTlsOptions(identity: TlsIdentity): tls.TlsOptions {
  return {
    key: identity.key,
    cert: identity.cert,
    minVersion: "TLSv1.3",
    maxVersion: "TLSv1.3",
    requestCert: true,
    rejectUnauthorized: false,
    secureOptions: constants.SSL_OP_NO_TICKET,
    handshakeTimeout: HANDSHAKE_MS,
    ALPNProtocols: ["http/1.1"],
    keepAlive: true,
    keepAliveInitialDelay: SERVER_ASKS_AFTER_MS,
  };
}

/** The key that the other side proved to hold, or undefined: no certificate, not Ed25519, or a resumed session. */
export function peerKey(socket: tls.TLSSocket): PeerKey | undefined {
  if (socket.getProtocol() !== "TLSv1.3" || socket.isSessionReused()) return undefined;
  const key = socket.getPeerX509Certificate()?.publicKey;
  if (key?.asymmetricKeyType !== "ed25519") return undefined;
  return { spki: spkiDigest(key), key };
}

/**
 * A connection to whoever holds a pinned key: resolves after the check and before a byte is read or written.
 * @throws SkeinError PIN_MISMATCH, HUB_UNREACHABLE, TIMEOUT (connecting took too long) or the signal's reason
 */
export async function connectPinned(options: ConnectOptions): Promise<tls.TLSSocket> {
  options.signal?.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<tls.TLSSocket>();
  const socket = tls.connect(clientTlsOptions(options));
  const address = hostPortText(options);
  const fail = (err: unknown): void => {
    socket.destroy();
    reject(err);
  };
  const onAbort = (): void => fail(options.signal?.reason);
  const timeoutMs = options.timeoutMs ?? CONNECT_TIMEOUT_MS;
  let lacking = isIP(options.host) === 0 ? "the resolver found no address" : "no answer";
  socket.once("lookup", () => (lacking = "no answer"));
  // On a busy machine an answer may lie here unread.
  const callOff = afterOwnMs(timeoutMs, () =>
    fail(unreachable(address, `${lacking} within ${timeoutMs} ms`)),
  );
  options.signal?.addEventListener("abort", onAbort, { once: true });
  const onError = (err: Error): void => fail(unreachable(address, errnoOf(err) ?? err.message, err));
  const onClose = (): void => fail(unreachable(address, "the connection was closed during the handshake"));
  socket.once("error", onError).once("close", onClose);
  socket.once("secureConnect", () => {
    const peer = peerKey(socket);
    if (peer === undefined || !options.pins.includes(peer.spki)) {
      return fail(pinMismatch(address, peer?.spki, options.pins));
    }
    return resolve(socket);
  });
  try {
    return await promise;
  } finally {
    callOff();
    options.signal?.removeEventListener("abort", onAbort);
    socket.off("error", onError).off("close", onClose);
    // A destroyed socket may still report the error that ended it.
    if (socket.destroyed) socket.on("error", () => undefined);
  }
}

function clientTlsOptions(options: ConnectOptions): tls.ConnectionOptions {
  return {
    host: options.host,
    port: options.port,
    key: options.identity.key,
    cert: options.identity.cert,
    minVersion: "TLSv1.3",
    maxVersion: "TLSv1.3",
    rejectUnauthorized: false,
    // Else Node reads all the CAs that it knows, and a command waits for it.
    ca: [],
    ALPNProtocols: ["http/1.1"],
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: ASK_AFTER_MS,
    autoSelectFamilyAttemptTimeout: ADDRESS_MS,
  } as tls.ConnectionOptions;
}

function unreachable(address: string, why: string, cause?: unknown): NotConnected {
  return new NotConnected("HUB_UNREACHABLE", `${address}: ${why}`, { cause, data: { address } });
}

function pinMismatch(address: string, got: string | undefined, pins: readonly string[]): SkeinError {
  return new SkeinError("PIN_MISMATCH", `${address} does not hold the pinned key`, {
    data: { address, got: got ?? null, pins: [...pins] },
  });
}
