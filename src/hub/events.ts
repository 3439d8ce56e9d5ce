/** The stream of changes, straight from the store's history: a reader that was cut resumes from its revision. */
import type { HubEvent } from "../api/schemas.ts";
import type { StoreEvent } from "../store/store.ts";
import type { Core } from "./core.ts";

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

/** @throws SkeinError STORE_COMPACTED */
export async function* hubEvents(
  core: Core,
  from: number,
  prefix: EventPrefix | undefined,
  signal: AbortSignal,
): AsyncGenerator<HubEvent, void> {
  const start = from === 0 ? core.mirror.revision + 1 : from;
  const watch = core.store.watch("", start, signal);
  yield { revision: start, type: "synced", key: "", value: null, more: false };
  for await (const batch of watch) {
    const told = batch.flatMap((event) => toldAs(event, prefix) ?? []);
    for (const [at, event] of told.entries()) yield { ...event, more: at < told.length - 1 };
  }
}

function toldAs(event: StoreEvent, prefix: EventPrefix | undefined): Omit<HubEvent, "more"> | undefined {
  const rule = TOLD.find(([pattern]) => pattern.test(event.key));
  if (rule === undefined || (prefix !== undefined && rule[2] !== prefix)) return undefined;
  const value: unknown = event.type === "put" ? JSON.parse(event.value) : null;
  return { revision: event.revision, type: rule[1], key: event.key, value };
}
