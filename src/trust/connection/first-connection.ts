import { setTimeout as sleep } from "node:timers/promises";
import type tls from "node:tls";
import { isSkeinError } from "../../lib/errors/errors.ts";
import { connectPinned, type ConnectOptions } from "./tls.ts";

type Server = Pick<ConnectOptions, "host" | "port" | "pins">;

interface Opened<T> {
  readonly server: T;
  readonly socket: tls.TLSSocket;
  readonly openingMs: number;
}

/** What a server has for answering before the next one is asked as well: longer than a handshake over any ocean. */
const HEAD_START_MS = 500;

/**
 * A connection to the first of `servers` that takes one. Each is asked when the one before it has failed or has not
 * answered for a while, so one that is gone costs half a second and not the limit of a connection. All others are
 * hung up on.
 * @throws what the last one failed with, or PIN_MISMATCH of any; the signal's reason
 */
export async function firstConnection<T extends Server>(
  servers: readonly T[],
  options: Pick<ConnectOptions, "identity"> & { readonly signal: AbortSignal },
): Promise<Opened<T>> {
  const { identity } = options;
  const over = new AbortController();
  const signal = AbortSignal.any([options.signal, over.signal]);
  let turn: Promise<unknown> = Promise.resolve();
  const attempts = servers.map((server) => {
    const { host, port, pins } = server;
    const attempt = turn.then(async () => {
      const began = performance.now();
      const socket = await connectPinned({ host, port, pins, identity, signal });
      return { server, socket, openingMs: performance.now() - began };
    });
    const failed = Promise.withResolvers<void>();
    attempt.catch(() => failed.resolve());
    turn = turn.then(async () => await Promise.race([failed.promise, headStart(signal)]));
    return attempt;
  });
  let first: Opened<T> | undefined;
  try {
    first = await Promise.any(attempts);
    return first;
  } catch (err) {
    throw err instanceof AggregateError ? gravest(err.errors) : err;
  } finally {
    over.abort();
    for (const attempt of attempts)
      attempt.then((late) => late !== first && late.socket.destroy()).catch(() => undefined);
  }
}

/** A wrong key is told before that somebody is gone: it may be an attack. */
export const gravest = (failures: readonly unknown[]): unknown =>
  failures.findLast((err) => isSkeinError(err, "PIN_MISMATCH")) ?? failures.at(-1);

async function headStart(signal: AbortSignal): Promise<void> {
  await sleep(HEAD_START_MS, undefined, { signal }).catch(() => undefined);
}
