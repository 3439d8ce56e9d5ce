import path from "node:path";
import { ensureKeeper, type KeeperClient } from "../../keeper/client.ts";
import type { KeeperEvent, OpArgs, OpName, OpResult } from "../../keeper/protocol.ts";
import { messageOf } from "../../lib/errors/errors.ts";
import type { Log } from "../../lib/process/log.ts";
import { Ends } from "./instance-ends.ts";

export interface LinkOptions {
  readonly run: string;
  /** Folder of all logs; the keeper's own is `keeper.log` in it. */
  readonly logs: string;
  /** A unit starts the keeper: one that the agent started would end with the agent's unit. Default: start it. */
  readonly awaitKeeper?: boolean | undefined;
  readonly log: Log;
}

/** What a listener hears: the keeper's events, and that a new keeper took over. */
export type LinkEvent = KeeperEvent | { readonly type: "keeper"; readonly lost: readonly string[] };

/** The agent's line to its keeper. It starts one when none is there, and again when that one dies. */
export class KeeperLink implements AsyncDisposable {
  /** What is being ended through it. */
  readonly ends = new Ends();
  readonly #options: LinkOptions;
  readonly #listeners = new Set<(event: LinkEvent) => void>();
  readonly #end = new AbortController();
  #client: Promise<KeeperClient> | undefined;

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  /** @throws SkeinError KEEPER_UNREACHABLE, KEEPER_PROTOCOL */
  async client(): Promise<KeeperClient> {
    this.#end.signal.throwIfAborted();
    this.#client ??= this.#connect();
    try {
      return await this.#client;
    } catch (err) {
      this.#client = undefined;
      throw err;
    }
  }

  async call<Name extends OpName>(op: Name, args: OpArgs<Name>, withinMs?: number): Promise<OpResult<Name>> {
    const client = await this.client();
    return await client.call(op, args, withinMs);
  }

  /** Hears every event until the returned function is called. */
  listen(listener: (event: LinkEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    this.#listeners.clear();
    const client = await this.#client?.catch(() => undefined);
    await client?.[Symbol.asyncDispose]();
  }

  async #connect(): Promise<KeeperClient> {
    const { run, logs, awaitKeeper, log } = this.#options;
    const signal = this.#end.signal;
    const logFile = path.join(logs, "keeper.log");
    const client = await ensureKeeper({ run, logFile, awaitKeeper, signal });
    client.onEvent = (event) => this.#tell(event);
    try {
      await client.call("events", {});
    } catch (err) {
      await client[Symbol.asyncDispose](); // heard later, it would tell all events twice
      throw err;
    }
    this.#tell({ type: "keeper", lost: client.hello.lost });
    void client.closed.then(async () => {
      this.#client = undefined;
      if (signal.aborted) return;
      log.warn("the keeper is gone; another one takes over");
      await this.client().catch((err: unknown) => log.error("no keeper", { "err.message": messageOf(err) }));
    });
    return client;
  }

  #tell(event: LinkEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}
