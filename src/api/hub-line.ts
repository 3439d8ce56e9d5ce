import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { isSkeinError, SkeinError } from "../lib/errors.ts";
import type { Envelope } from "../trust/envelope.ts";
import { pinnedClient, type PinnedClient, type RequestOptions } from "../trust/http-client.ts";
import type { TlsIdentity } from "../trust/tls.ts";
import { GIT_ROUTE, splitAddress, type HubAddress } from "./hub-address.ts";

export interface HubLineOptions {
  /** Tried in turn; the one that answered last is tried first, and one that did not answer last. */
  readonly hubs: readonly HubAddress[];
  readonly identity: TlsIdentity;
  /** An operator's session.1 that vouches for `identity`, or who gives the one to be shown now. */
  readonly session?: Envelope | (() => Promise<Envelope>);
  /** Short requests take turns on one connection: for whoever asks many of them and ends. */
  readonly thrifty?: boolean;
}

/** Pinned connections to a cluster's hubs. Knows nothing of what is said on them, so it is loaded in no time. */
export class HubLine implements Disposable {
  readonly #options: HubLineOptions;
  readonly #clients = new Map<HubAddress, PinnedClient>();
  #shown: { readonly session: Envelope; readonly header: string } | undefined;
  #order: readonly HubAddress[];

  /** @throws SkeinError HUB_UNREACHABLE when no hub is known */
  constructor(options: HubLineOptions) {
    if (options.hubs.length === 0) throw new SkeinError("HUB_UNREACHABLE", "no hub is known");
    this.#options = options;
    this.#order = options.hubs;
  }

  /** For messages. */
  get name(): string {
    return `hub ${this.first?.address ?? ""}`;
  }

  /** The hub that is asked first. */
  get first(): HubAddress | undefined {
    return this.#order[0];
  }

  /** From now on this hub is asked after all others. */
  askLast(hub: HubAddress | undefined): void {
    if (hub !== undefined) this.#order = [...this.#order.filter((other) => other !== hub), hub];
  }

  /** The response with its body unread. */
  async send(request: RequestOptions): Promise<IncomingMessage> {
    const headers = { ...(await this.#headers()), ...request.headers };
    return await this.#any((client) => client.send({ ...request, headers }));
  }

  /** A raw connection to git-upload-pack or git-receive-pack of a repository. */
  async git(
    repo: string,
    service: "git-upload-pack" | "git-receive-pack",
    signal?: AbortSignal,
  ): Promise<Duplex> {
    const path = GIT_ROUTE.replace(":repo", encodeURIComponent(repo)).replace(":service", service);
    const headers = await this.#headers();
    return await this.#any((client) =>
      client.upgrade({ method: "GET", path, protocol: "skein-git", headers, signal }),
    );
  }

  close(): void {
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

  /** Tries the hubs in turn while they cannot be reached. */
  async #any<T>(attempt: (client: PinnedClient) => Promise<T>): Promise<T> {
    let failure: unknown;
    for (const hub of this.#order) {
      try {
        const result = await attempt(this.#client(hub));
        if (this.#order[0] !== hub) this.#order = [hub, ...this.#order.filter((other) => other !== hub)];
        return result;
      } catch (err) {
        if (!isSkeinError(err, "HUB_UNREACHABLE", "PIN_MISMATCH")) throw err;
        this.askLast(hub);
        if (!isSkeinError(failure, "PIN_MISMATCH")) failure = err;
      }
    }
    throw failure;
  }

  #client(hub: HubAddress): PinnedClient {
    const known = this.#clients.get(hub);
    if (known !== undefined) return known;
    const { identity, thrifty = false } = this.#options;
    const client = pinnedClient({ ...splitAddress(hub.address), pins: [hub.spki], identity, thrifty });
    this.#clients.set(hub, client);
    return client;
  }
}

/** The value of the header `skein-session`. */
export function sessionHeader(session: Envelope): string {
  return Buffer.from(JSON.stringify(session)).toString("base64url");
}
