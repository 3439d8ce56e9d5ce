import path from "node:path";
import * as z from "zod";
import { portEntry, type PortEntry } from "../../api/schemas.ts";
import { messageOf } from "../../lib/errors/errors.ts";
import { readIfThere, removeLeft, replaceFile } from "../../lib/disk/files.ts";
import type { Log } from "../../lib/process/log.ts";
import { forever, type ForeverOptions } from "../../lib/async/forever.ts";
import type { RegistryHost } from "./registry-host.ts";
import type { PortTable, Source } from "../source/source.ts";
import { until } from "../../lib/time/until.ts";

/** Longest wait for the table of now, in ms: a hub that is away for longer must not hold a deployment up for ever. */
const REFRESH_MS = 30_000;

export interface NeighboursOptions extends Omit<ForeverOptions, "what" | "onFailure"> {
  readonly runDir: string;
  readonly source: () => Promise<Source>;
  readonly registry: Pick<RegistryHost, "setRemote" | "seen">;
}

const fileIn = (runDir: string): string => path.join(runDir, "services.json");

/**
 * What was known before this agent started: where no hub answers, callers on this node go on finding what they found.
 * A file that a power cut left torn says nothing; what an agent that was killed left half written goes.
 */
export async function knownBefore(runDir: string, log: Log): Promise<readonly PortEntry[]> {
  removeLeft(runDir);
  const text = await readIfThere(fileIn(runDir));
  try {
    return text === undefined ? [] : z.array(portEntry).parse(JSON.parse(text));
  } catch (err) {
    log.warn("services of other nodes were not kept", { "err.message": messageOf(err) });
    return [];
  }
}

/** What this node knows of services on other nodes: the source's port table, and between two tables the last one. */
export class Neighbours {
  readonly #options: NeighboursOptions;
  readonly #file: string;
  /** Of the table that is known, since it is followed. */
  #revision = 0;
  #kept = "";
  /** One at a time: two tables may come at once, and the newer one is to stay. */
  #keeping: Promise<void> = Promise.resolve();

  constructor(options: NeighboursOptions) {
    this.#options = options;
    this.#file = fileIn(options.runDir);
  }

  /** Follows the source's table until the signal aborts. */
  async run(): Promise<void> {
    await forever({ ...this.#options, what: "ports" }, async (signal) => {
      const source = await this.#options.source();
      // It may be that of a hub which was set back.
      this.#revision = 0;
      for await (const table of source.ports(signal)) await this.#take(table);
    });
  }

  /**
   * Asks for the table as it is now. A node may hear that its turn has come before it hears what came up on others in
   * the turn before. Where nobody answers within 30 s, what is known must do.
   */
  async refresh(signal: AbortSignal): Promise<void> {
    using asking = until([signal, this.#options.signal], REFRESH_MS);
    await forever({ ...this.#options, what: "ports", signal: asking.signal }, async () => {
      const source = await this.#options.source();
      for await (const table of source.ports(asking.signal)) {
        await this.#take(table);
        break;
      }
      asking.abort();
    });
    signal.throwIfAborted();
  }

  /** What was asked for in between and what is followed come in any order. */
  async #take({ ports, revision }: PortTable): Promise<void> {
    if (revision < this.#revision) return;
    this.#revision = revision;
    const { registry } = this.#options;
    registry.setRemote(ports);
    const text = JSON.stringify(registry.seen(ports));
    if (text === this.#kept) return;
    this.#kept = text;
    this.#keeping = this.#keeping.then(async () => await this.#keep(text));
    await this.#keeping;
  }

  async #keep(text: string): Promise<void> {
    if (text !== this.#kept) return; // a newer one came meanwhile
    try {
      // Not flushed: the folder is gone when the machine starts anew.
      await replaceFile(this.#file, text);
    } catch (err) {
      this.#options.log.warn("services of other nodes are not kept", { "err.message": messageOf(err) });
    }
  }
}
