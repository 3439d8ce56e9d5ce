import http from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { KeyId, ReleaseId } from "../../lib/text/ids.ts";
import { listening } from "../../lib/process/listening.ts";
import type { Log } from "../../lib/process/log.ts";
import { loopbackHost } from "../../lib/process/loopback.ts";
import { parseDurationMs } from "../../lib/text/units.ts";
import { until } from "../../lib/time/until.ts";
import { KnownCallers } from "../../trust/connection/known-callers.ts";
import { Strangers } from "../../trust/connection/strangers.ts";

/** A caller, as the capability in its URL names it. */
export interface Caller {
  readonly app: string;
  readonly env: string;
  readonly release: ReleaseId;
  /** Services of other apps, `app.process`, whose current instances it may look up too, by its manifest. */
  readonly uses: readonly string[];
}

/** One instance that can be reached, here or on another node. */
export interface Service {
  readonly app: string;
  readonly env: string;
  readonly release: ReleaseId;
  /** The process's name: what callers look up. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly node: string;
  readonly nodeId: KeyId;
  readonly instance: string;
  /** It serves, and of the release that its node last switched to: what callers of other apps are led to. */
  readonly current: boolean;
}

/** What callers are told (docs/manifest.md). */
export interface ServiceAnswer {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly release: ReleaseId;
  readonly node: string;
  readonly instance: string;
}

/**
 * The services that this node knows. Its own instances are put in as they come and go; those of other nodes are
 * replaced by each table that arrives, and stand as they were while none does.
 */
export interface ServiceTable {
  setLocal(services: readonly Service[]): void;
  setRemote(services: readonly Service[]): void;
  all(): readonly Service[];
  find(caller: Caller, name: string | undefined): readonly ServiceAnswer[];
  /** Resolves at the next change, or when `signal` aborts. */
  changed(signal: AbortSignal): Promise<void>;
}

export function serviceTable(self: KeyId): ServiceTable {
  let local: readonly Service[] = [];
  let remote: readonly Service[] = [];
  let next = Promise.withResolvers<void>();
  const change = (): void => {
    next.resolve();
    next = Promise.withResolvers<void>();
  };
  const all = (): readonly Service[] => [...local, ...remote];
  return {
    setLocal(services) {
      local = services;
      change();
    },
    setRemote(services) {
      remote = services.filter((service) => service.nodeId !== self);
      change();
    },
    all,
    find: (caller, name) =>
      all()
        .filter((service) => isVisible(service, caller))
        .map((service) => answerOf(service, caller))
        .filter((answer) => name === undefined || answer.name === name),
    async changed(signal) {
      const aborted = Promise.withResolvers<void>();
      const stop = (): void => {
        aborted.resolve();
      };
      signal.addEventListener("abort", stop, { once: true });
      if (signal.aborted) stop();
      await Promise.race([next.promise, aborted.promise]);
      signal.removeEventListener("abort", stop);
    },
  };
}

/** Longest wait for a service to appear, in ms. */
const MAX_WAIT_MS = 60_000;
/** Longest time without a known capability, in ms: an agent that starts knows of none yet. */
const STRANGER_MS = 60_000;

export interface RegistryServer extends AsyncDisposable {
  readonly port: number;
}

export interface RegistryOptions {
  readonly table: ServiceTable;
  /** The caller behind a capability; undefined when nobody has it. */
  readonly callerOf: (capability: string) => Caller | undefined;
  /** Whoever asks waits for this: that the callers and the table are known. Default: they are. */
  readonly ready?: Promise<void>;
  readonly log: Log;
  /** Where it listens by itself. Default: the machine's loopback. */
  readonly host?: string;
  /** Open at once, of all callers together; a quarter of these by one, and half by whoever has not said yet who it is. Default 1000. */
  readonly maxConnections?: number;
  /** Waits of one capability at once; beyond them 429. Default 100. */
  readonly maxWaits?: number;
  /** How long a connection may take to say what it wants, in ms. Default 5000. */
  readonly silentMs?: number;
}

/**
 * `GET /<capability>/services` and `GET /<capability>/services/<name>[?wait=30s]`: a JSON list, empty (and 200) when
 * there is none. An unknown capability is 403, anything else 404.
 * @param fd a listening socket that outlives this process; undefined: a port of its own
 * @throws SkeinError IO where there is no such address
 */
export async function serveRegistry(options: RegistryOptions, fd?: number): Promise<RegistryServer> {
  const stop = new AbortController();
  const waits = new Waits(options.maxWaits ?? 100);
  const silentMs = options.silentMs ?? 5000;
  const timeouts = {
    headersTimeout: silentMs,
    requestTimeout: silentMs,
    connectionsCheckingInterval: silentMs,
  };
  const most = options.maxConnections ?? 1000;
  const connections = {
    strangers: new Strangers({ graceMs: STRANGER_MS, perAddress: most / 2, inAll: most / 2 }),
    callers: new KnownCallers(most / 4),
  };
  const server = http.createServer(timeouts, (request, response) => {
    answer(request, response, { ...options, ...connections, waits }, stop.signal).catch((err: unknown) => {
      options.log.warn("registry request failed", { err: String(err) });
      response.destroy();
    });
  });
  server.keepAliveTimeout = 30_000;
  // Any process of the machine may connect: it must not take the descriptors that the agent works with, nor all places.
  server.maxConnections = most;
  server.on("connection", (socket: Socket) => connections.strangers.came(socket, socket.remoteAddress ?? ""));
  const at = { host: options.host ?? loopbackHost(), port: 0 };
  await listening("the registry of services", server, fd === undefined ? at : { ...at, fd });
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      stop.abort();
      server.closeIdleConnections();
      await new Promise<void>((resolve) => {
        server.close(() => {
          resolve();
        });
        server.closeAllConnections();
      });
    },
  };
}

interface AnswerOptions extends RegistryOptions {
  readonly waits: Waits;
  readonly strangers: Strangers;
  readonly callers: KnownCallers<string>;
}

async function answer(
  request: http.IncomingMessage,
  response: http.ServerResponse,
  options: AnswerOptions,
  stop: AbortSignal,
): Promise<void> {
  const asked = askedIn(request.url ?? "/");
  await options.ready;
  const caller = asked === undefined ? undefined : options.callerOf(asked.capability);
  if (asked === undefined || caller === undefined)
    return reply(response, 403, { error: "no such capability" });
  options.strangers.known(request.socket);
  options.callers.came(asked.capability, request.socket);
  if (request.method !== "GET" || !asked.isKnown) {
    return reply(response, 404, { error: "GET services or services/NAME" });
  }
  const { capability, name, waitMs } = asked;
  if (waitMs === undefined) return reply(response, 400, { error: "wait is a duration such as 30s" });
  using place = options.waits.take(capability, waitMs);
  if (place === undefined) return reply(response, 429, { error: "too many waits at once" });
  using over = until([stop], Math.min(waitMs, MAX_WAIT_MS));
  response.once("close", over.abort);
  reply(response, 200, await lookUp(options.table, caller, name, waitMs, over.signal));
}

interface Asked {
  readonly capability: string;
  /** Is there such a path? */
  readonly isKnown: boolean;
  /** Of the service; undefined: all are meant. */
  readonly name: string | undefined;
  /** Undefined where it is no duration. */
  readonly waitMs: number | undefined;
}

/** Undefined where it is no URL. */
function askedIn(text: string): Asked | undefined {
  const url = URL.parse(text, "http://registry");
  if (url === null) return undefined;
  const [, capability = "", noun, name = "", ...rest] = url.pathname.split("/");
  const wait = url.searchParams.get("wait");
  return {
    capability,
    isKnown: noun === "services" && rest.length === 0,
    name: name === "" ? undefined : decoded(name),
    waitMs: wait === null ? 0 : parseDurationMs(wait),
  };
}

/** What is badly encoded is as it stands: nobody is called so. */
function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

/** How many requests of each capability wait. */
class Waits {
  readonly #most: number;
  readonly #waiting = new Map<string, number>();

  constructor(most: number) {
    this.#most = most;
  }

  /** Undefined when there is no more place; what does not wait needs none. */
  take(capability: string, waitMs: number): Disposable | undefined {
    const count = this.#waiting.get(capability) ?? 0;
    if (waitMs === 0) return { [Symbol.dispose]: () => undefined };
    if (count >= this.#most) return undefined;
    this.#waiting.set(capability, count + 1);
    return { [Symbol.dispose]: () => this.#leave(capability) };
  }

  #leave(capability: string): void {
    const count = (this.#waiting.get(capability) ?? 1) - 1;
    if (count === 0) this.#waiting.delete(capability);
    else this.#waiting.set(capability, count);
  }
}

async function lookUp(
  table: ServiceTable,
  caller: Caller,
  name: string | undefined,
  waitMs: number,
  over: AbortSignal,
): Promise<readonly ServiceAnswer[]> {
  let found = table.find(caller, name);
  if (waitMs === 0) return found;
  while (found.length === 0 && !over.aborted) {
    await table.changed(over);
    found = table.find(caller, name);
  }
  return found;
}

function reply(response: http.ServerResponse, status: number, body: unknown): void {
  const text = `${JSON.stringify(body)}\n`;
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
    "cache-control": "no-store",
  });
  response.end(text);
}

/** Whether a caller is told of a service: one of its own release, or the current one of an app that it uses. */
export function isVisible(service: Service, caller: Caller): boolean {
  if (service.env !== caller.env) return false;
  if (service.app === caller.app) return service.release === caller.release;
  return service.current && caller.uses.includes(nameFor(service, caller));
}

/** Another app's service is called `app.process`; one's own goes by its process alone. */
function nameFor(service: Service, caller: Caller): string {
  return service.app === caller.app ? service.name : `${service.app}.${service.name}`;
}

function answerOf(service: Service, caller: Caller): ServiceAnswer {
  const { host, port, release, node, instance } = service;
  return { name: nameFor(service, caller), host, port, release, node, instance };
}
