import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { isSkeinError, messageOf, SkeinError } from "../lib/errors/errors.ts";
import type { Clock } from "../lib/time/clock.ts";
import { retryDelayMs } from "../lib/time/retry.ts";
import type { Envelope } from "../trust/document/envelope.ts";
import { firstConnection, gravest } from "../trust/connection/first-connection.ts";
import {
  isReplayable,
  pinnedClient,
  type PinnedClient,
  type RequestOptions,
} from "../trust/connection/http-client.ts";
import { NotConnected, type TlsIdentity } from "../trust/connection/tls.ts";
import { GIT_ROUTE, splitAddress, type HubAddress } from "./hub-address.ts";

export interface HubLineOptions {
  /** The one that answered last is asked; where none has or it is gone, the first in this turn that takes a connection. */
  readonly hubs: readonly HubAddress[];
  readonly identity: TlsIdentity;
  /** An operator's session.1 that vouches for `identity`, or who gives the one to be shown now. */
  readonly session?: Envelope | (() => Promise<Envelope>);
  /** Short requests take turns on one connection: for whoever asks many of them and ends. */
  readonly thrifty?: boolean;
  /** Connections to one hub at a time. Default 16. */
  readonly maxSockets?: number;
  /** With hubs that were reached before, and may be restarting. Default: none. */
  readonly patience?: Patience;
}

/** A request that none of the hubs answers is sent again, where that is safe, before it fails. */
export interface Patience {
  /** From its beginning on, in ms. */
  readonly ms: number;
  readonly clock: Clock;
  /** Told why, once, before the first wait. */
  readonly onWait: (text: string) => void;
}

const BACKOFF = { baseMs: 100, maxMs: 1000, random: Math.random } as const;

/** Pinned connections to a cluster's hubs. Knows nothing of what is said on them, so it is loaded in no time. */
export class HubLine implements Disposable {
  readonly #options: HubLineOptions;
  readonly #clients = new Map<HubAddress, PinnedClient>();
  #shown: { readonly session: Envelope; readonly header: string } | undefined;
  #order: readonly HubAddress[];
  /** The one that answered last, unless it failed since. */
  #answering: HubAddress | undefined;
  /** Which hub all requests wait for while none of them has an answer. */
  #search: Promise<HubAddress> | undefined;
  #finding = new AbortController();
  #hasWaited = false;

  /** @throws SkeinError HUB_UNREACHABLE when no hub is known */
  constructor(options: HubLineOptions) {
    if (options.hubs.length === 0) throw new SkeinError("HUB_UNREACHABLE", "no hub is known");
    this.#options = options;
    this.#order = options.hubs.filter(
      (one, n, all) =>
        all.findIndex(({ spki, address }) => spki === one.spki && address === one.address) === n,
    );
  }

  /** For messages. */
  get name(): string {
    return `hub ${this.first?.address ?? ""}`;
  }

  /** The hub that is asked first. */
  get first(): HubAddress | undefined {
    return this.#order[0];
  }

  /** Begins to open a connection, for whoever will ask soon. A failure is told to whoever asks. */
  connect(): void {
    if (this.#answering === undefined) this.#searched().catch(() => undefined);
  }

  /** From now on this hub is asked after all others. */
  askLast(hub: HubAddress | undefined): void {
    if (hub === undefined) return;
    if (this.#answering === hub) this.#answering = undefined;
    this.#order = [...this.#order.filter((other) => other !== hub), hub];
  }

  /**
   * The response with its body unread. A body that is a stream cannot be begun anew: should the hub be lost while it is
   * sent, that is told, and whoever goes on asks another hub.
   */
  async send(request: RequestOptions): Promise<IncomingMessage> {
    const headers = { ...(await this.#headers()), ...request.headers };
    return await this.#any((client) => client.send({ ...request, headers }), request);
  }

  /** A raw connection to git-upload-pack or git-receive-pack of a repository. */
  async git(
    repo: string,
    service: "git-upload-pack" | "git-receive-pack",
    signal?: AbortSignal,
  ): Promise<Duplex> {
    const path = GIT_ROUTE.replace(":repo", encodeURIComponent(repo)).replace(":service", service);
    const headers = await this.#headers();
    const request = { method: "GET", path, protocol: "skein-git", headers, signal };
    return await this.#any((client) => client.upgrade(request), request);
  }

  close(): void {
    this.#finding.abort(new SkeinError("HUB_UNREACHABLE", "the connections to the hubs were closed"));
    this.#finding = new AbortController();
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #headers(): Promise<Readonly<Record<string, string>>> {
    const given = this.#options.session;
    const session = typeof given === "function" ? await given() : given;
    if (session === undefined) return {};
    if (this.#shown?.session !== session) this.#shown = { session, header: sessionHeader(session) };
    return { "skein-session": this.#shown.header };
  }

  /** Asks all hubs, and again while that is safe and may help. */
  async #any<T>(attempt: (client: PinnedClient) => Promise<T>, request: RequestOptions): Promise<T> {
    const { patience } = this.#options;
    const until = performance.now() + (patience?.ms ?? 0);
    for (let round = 1; ; round++) {
      const failures: unknown[] = [];
      try {
        return await this.#each(attempt, request, failures);
      } catch (err) {
        const ms = retryDelayMs(round, BACKOFF);
        const isOver = patience === undefined || performance.now() + ms > until;
        if (isOver || ![...failures, err].every((one) => mayRepeat(one, request))) throw err;
        if (!this.#hasWaited) patience.onWait(waitText(err));
        this.#hasWaited = true;
        await patience.clock.sleep(ms, request.signal);
      }
    }
  }

  /** Asks one hub after the other while they cannot be reached. @param failures given what each of them failed with */
  async #each<T>(
    attempt: (client: PinnedClient) => Promise<T>,
    { body, signal }: Pick<RequestOptions, "body" | "signal">,
    failures: unknown[],
  ): Promise<T> {
    for (let left = this.#order; left.length > 0;) {
      const hub = await this.#nearest(left, signal).catch((err: unknown) => {
        throw gravest([...failures, err]);
      });
      try {
        const result = await attempt(this.#client(hub));
        this.#askFirst(hub);
        return result;
      } catch (err) {
        if (!isSkeinError(err, "HUB_UNREACHABLE", "PIN_MISMATCH")) throw err;
        this.askLast(hub);
        failures.push(err);
        left = isReplayable(body) ? left.filter((other) => other !== hub) : [];
      }
    }
    throw gravest(failures);
  }

  /** The one of `left` that answered last, or that takes a connection first. */
  async #nearest(left: readonly HubAddress[], signal: AbortSignal | undefined): Promise<HubAddress> {
    const [first] = left;
    const isOnly = left.length === 1 && (this.#search === undefined || this.#order.length > 1);
    if (first !== undefined && (isOnly || first === this.#answering)) return first;
    if (left.length < this.#order.length) return await unlessAborted(this.#find(left), signal);
    return await unlessAborted(this.#searched(), signal);
  }

  async #searched(): Promise<HubAddress> {
    return await (this.#search ??= this.#find(this.#order).finally(() => (this.#search = undefined)));
  }

  async #find(hubs: readonly HubAddress[]): Promise<HubAddress> {
    const servers = hubs.map((hub) => ({ ...splitAddress(hub.address), pins: [hub.spki], hub }));
    const { identity } = this.#options;
    const { server, socket, openingMs } = await firstConnection(servers, {
      identity,
      signal: this.#finding.signal,
    });
    this.#client(server.hub).adopt(socket, openingMs);
    this.#askFirst(server.hub);
    return server.hub;
  }

  #askFirst(hub: HubAddress): void {
    this.#answering = hub;
    if (this.#order[0] !== hub) this.#order = [hub, ...this.#order.filter((other) => other !== hub)];
  }

  #client(hub: HubAddress): PinnedClient {
    const known = this.#clients.get(hub);
    if (known !== undefined) return known;
    const { identity, thrifty = false, maxSockets } = this.#options;
    const bound = maxSockets === undefined ? {} : { maxSockets };
    const server = { ...splitAddress(hub.address), pins: [hub.spki] };
    const client = pinnedClient({ ...server, identity, thrifty, ...bound });
    this.#clients.set(hub, client);
    return client;
  }
}

const waitText = (err: unknown): string =>
  `The hub does not answer (${messageOf(err)}): it may be restarting, and is asked again for some seconds.`;

/**
 * What no hub heard, or what only asks and was cut off. Answers that a hub gave are answers, and a wrong key may be an
 * attack.
 */
function mayRepeat(err: unknown, { method, body }: RequestOptions): boolean {
  if (!isReplayable(body) || !isSkeinError(err, "HUB_UNREACHABLE")) return false;
  return err instanceof NotConnected || (method === "GET" && err.data["status"] === undefined);
}

/** Waits no longer than `signal` lets it; the work goes on for whoever else waits for it. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal?.reason);
  if (signal?.aborted === true) onAbort();
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

/** The value of the header `skein-session`. */
export function sessionHeader(session: Envelope): string {
  return Buffer.from(JSON.stringify(session)).toString("base64url");
}
