/** The stream of changes, straight from the store's history: a reader that was cut resumes from its revision. */
import { setImmediate as immediate } from "node:timers/promises";
import type { HubEvent } from "../api/schemas.ts";
import type { StoreEvent } from "../store/store.ts";
import type { InstanceReport } from "../api/field-schemas.ts";
import type { Core } from "./records/core.ts";
import type { PortTable } from "./reporting/port-table.ts";

export type EventPrefix = "apps" | "ports" | "nodes" | "rollouts";

type EventType = HubEvent["type"];
/** Which keys are told, under which type, in which streams. What is not listed stays in the hub. */
const TOLD: readonly (readonly [RegExp, EventType, EventPrefix | undefined])[] = [
  [/^\/charters\//, "charter", undefined],
  [/^\/nodes\/[0-9a-f]+\/(enrol|label|revoke|view)$/, "node", "nodes"],
  [/^\/releases\//, "release", "apps"],
  [/^\/orders\/[^/]+\/[^/]+\/head$/, "order", "apps"],
  [/^\/orders\/[^/]+\/[^/]+\/standing$/, "standing", "apps"],
  [/^\/settles\//, "settle", "apps"],
  [/^\/receipts\//, "receipt", "rollouts"],
  [/^\/rollouts\//, "rollout", "rollouts"],
  [/^\/ports\//, "port", "ports"],
];

/** Where all that a stream tells is under one prefix. Each node follows the ports: of other changes it is not even asked. */
const FOLDER: Readonly<Record<string, string>> = { ports: "/ports/", nodes: "/nodes/" };

export interface EventParts {
  readonly core: Core;
  readonly ports: Pick<PortTable, "entry">;
}

/** @throws SkeinError STORE_COMPACTED */
export async function* hubEvents(
  { core, ports }: EventParts,
  from: number,
  prefix: EventPrefix | undefined,
  signal: AbortSignal,
): AsyncGenerator<HubEvent, void> {
  const start = from === 0 ? core.mirror.revision + 1 : from;
  const watch = core.store.watch(FOLDER[prefix ?? ""] ?? "", start, signal)[Symbol.asyncIterator]();
  const first = watch.next();
  // It may fail while the reader has not come for it yet.
  first.catch(() => undefined);
  // History that is gone is told at once: then the answer is an error, before there is a stream.
  await Promise.race([first, immediate()]);
  try {
    yield { revision: start, type: "synced", key: "", value: null, more: false };
    for (let next = await first; next.done !== true; next = await watch.next()) {
      const told = next.value.flatMap((event) => toldAs(event, prefix, ports) ?? []);
      for (const [at, event] of told.entries()) yield { ...event, more: at < told.length - 1 };
    }
  } finally {
    await watch.return?.();
  }
}

function toldAs(
  event: StoreEvent,
  prefix: EventPrefix | undefined,
  ports: EventParts["ports"],
): Omit<HubEvent, "more"> | undefined {
  const rule = TOLD.find(([pattern]) => pattern.test(event.key));
  if (rule === undefined || (prefix !== undefined && rule[2] !== prefix)) return undefined;
  const value = event.type === "put" ? valueOf(event, rule[1], ports) : null;
  return { revision: event.revision, type: rule[1], key: event.key, value };
}

/** Read once for all who are told of it. */
const VALUES = new WeakMap<StoreEvent, unknown>();

/** As it is stored; of the port table as it stands there, so that whoever follows it need not ask for all of it. */
function valueOf(
  event: Extract<StoreEvent, { type: "put" }>,
  type: EventType,
  ports: EventParts["ports"],
): unknown {
  const known = VALUES.get(event);
  if (known !== undefined) return known;
  const stored: unknown = JSON.parse(event.value);
  const value = type === "port" ? (ports.entry(event.key, stored as InstanceReport) ?? null) : stored;
  VALUES.set(event, value);
  return value;
}
