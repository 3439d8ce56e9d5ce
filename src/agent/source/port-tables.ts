/**
 * The hub's port table, followed by its changes: read whole once, then each change is put in where it belongs. A fleet
 * in which every node read the whole at every change would have its hub send it n² times for one deployment.
 */
import { setTimeout } from "node:timers/promises";
import type { HubClient } from "../../api/hub-client.ts";
import { portEntry, type HubEvent, type PortEntry } from "../../api/schemas.ts";
import type { PortTable } from "./source.ts";

/** Changes of the table that come within this time are given as one. */
const GATHER_MS = 20;

type Tables = Pick<HubClient, "ports" | "watch">;

/**
 * The table at first, then again after each burst of changes.
 * @param charterVersion of the one in force: another one may vouch for other nodes, so all is read anew then
 */
export async function* portTables(
  client: Tables,
  charterVersion: () => number,
  signal: AbortSignal,
): AsyncGenerator<PortTable, void> {
  let table = await Table.read(client, charterVersion(), signal);
  yield table.now();
  const stop = new AbortController();
  const watched = AbortSignal.any([signal, stop.signal]);
  try {
    const stream = client.watch(watched, { from: table.revision + 1, prefix: "ports" });
    for await (const events of bursts(stream)) {
      if (table.charter !== charterVersion() || !events.every((event) => table.take(event)))
        table = await Table.read(client, charterVersion(), signal);
      yield table.now();
    }
  } finally {
    stop.abort();
  }
}

class Table {
  /** As it was read. */
  readonly revision: number;
  readonly charter: number;
  /** Of what it holds. */
  #newest: number;
  readonly #entries: Map<string, PortEntry>;

  private constructor(revision: number, charter: number, ports: readonly PortEntry[]) {
    this.revision = revision;
    this.#newest = revision;
    this.charter = charter;
    this.#entries = new Map(ports.map((entry) => [`/ports/${entry.node}/${entry.instance}`, entry]));
  }

  static async read(client: Tables, charter: number, signal: AbortSignal): Promise<Table> {
    const { ports, revision } = await client.ports({}, signal);
    return new Table(revision, charter, ports);
  }

  now(): PortTable {
    return { ports: [...this.#entries.values()], revision: this.#newest };
  }

  /** False where the event does not say all: an older hub tells what the node said, and not who it is. */
  take({ key, value, revision }: HubEvent): boolean {
    // It is in the table already.
    if (revision <= this.revision) return true;
    this.#newest = revision;
    if (value === null) return this.#entries.delete(key) || true;
    const { data } = portEntry.safeParse(value);
    if (data !== undefined) this.#entries.set(key, data);
    return data !== undefined;
  }
}

/** Undefined: nothing came in time. */
type Got = IteratorResult<HubEvent, void> | undefined;

/** Changes that come together. */
async function* bursts(stream: AsyncGenerator<HubEvent, void>): AsyncGenerator<readonly HubEvent[], void> {
  let next = stream.next();
  for (let first = await next; first.done !== true; first = await next) {
    const events: HubEvent[] = [];
    const over = setTimeout(GATHER_MS, undefined);
    for (let got: Got = first; got?.done === false; got = await Promise.race([next, over])) {
      if (got.value.type === "port") events.push(got.value);
      next = stream.next();
      // Whoever waits for it hears of its failure; until then it is nobody's.
      next.catch(() => undefined);
    }
    if (events.length > 0) yield events;
  }
}
