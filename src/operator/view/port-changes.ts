import { isDeepStrictEqual } from "node:util";
import type { HubEvent, PortEntry } from "../../api/schemas.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";
import type { Operator } from "../identity/operator.ts";
import { outlasting } from "../order/follow.ts";
import { portTable, type PortTable } from "./views.ts";

export interface PortWish {
  readonly app: string | null;
  readonly env: string | null;
  /** The names of the nodes that are meant; undefined: all. */
  readonly names: ReadonlySet<string> | undefined;
}

/** A change of the table. */
export interface PortChange {
  readonly event: HubEvent;
  /** What came, or what went. */
  readonly entry: PortEntry;
}

export const isMeant = ({ app, env, nodeName }: PortEntry, wish: PortWish): boolean =>
  (wish.app === null || app === wish.app) &&
  (wish.env === null || env === wish.env) &&
  (wish.names?.has(nodeName) ?? true);

export const portKey = ({ node, instance }: PortEntry): string => `/ports/${node}/${instance}`;

/**
 * Each change of a table from there on, as long as `signal` lets it. Where the hub has forgotten what changed while it
 * could not be reached, the table is read anew, and what is other in it is told.
 * @param onGap told once, when that is so for the first time
 */
export async function* portChanges(
  operator: Pick<Operator, "client" | "clock">,
  { ports, revision }: PortTable,
  wish: PortWish,
  { signal, onGap }: { readonly signal: AbortSignal; readonly onGap: () => void },
): AsyncGenerator<PortChange, void> {
  const table = new Map(ports.map((entry) => [portKey(entry), entry]));
  for (let [from, gaps] = [revision, 0]; !signal.aborted; gaps++) {
    try {
      for await (const event of operator.client.watch(signal, { prefix: "ports", from: from + 1 })) {
        const change = event.type === "port" ? taken(table, event, wish) : undefined;
        if (change !== undefined) yield change;
      }
    } catch (err) {
      if (!isSkeinError(err, "STORE_COMPACTED")) throw err;
      if (gaps === 0) onGap();
      const now = await readAnew(operator, wish, signal);
      yield* differences(table, now, wish);
      from = now.revision;
    }
  }
}

function taken(table: Map<string, PortEntry>, event: HubEvent, wish: PortWish): PortChange | undefined {
  const value = event.value as PortEntry | null;
  const entry = value ?? table.get(event.key);
  if (entry === undefined || !isMeant(entry, wish)) return undefined;
  if (value === null) table.delete(event.key);
  else table.set(event.key, value);
  return { event, entry };
}

async function readAnew(
  operator: Pick<Operator, "client" | "clock">,
  wish: PortWish,
  signal: AbortSignal,
): Promise<PortTable> {
  let read: PortTable = { ports: [], revision: 0 };
  await outlasting(operator, signal, async () => {
    read = await portTable(operator, wish, signal);
  });
  return read;
}

/** What went and what came or is another, as the changes that nobody told would have ended; the table is `now` then. */
function* differences(
  table: Map<string, PortEntry>,
  { ports, revision }: PortTable,
  wish: PortWish,
): Generator<PortChange, void> {
  const now = new Map(ports.filter((entry) => isMeant(entry, wish)).map((entry) => [portKey(entry), entry]));
  const told = (key: string, value: PortEntry | null): HubEvent => ({
    revision,
    type: "port",
    key,
    value,
    more: false,
  });
  for (const [key, entry] of table) {
    if (now.has(key)) continue;
    table.delete(key);
    yield { event: told(key, null), entry };
  }
  for (const [key, entry] of now) {
    if (isDeepStrictEqual(table.get(key), entry)) continue;
    table.set(key, entry);
    yield { event: told(key, entry), entry };
  }
}
