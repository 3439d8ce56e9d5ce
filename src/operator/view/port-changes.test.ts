import assert from "node:assert/strict";
import test from "node:test";
import type { HubEvent, PortEntry } from "../../api/schemas.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { systemClock } from "../../lib/time/clock.ts";
import type { Operator } from "../identity/operator.ts";
import { portChanges, portKey } from "./port-changes.ts";

const entry = (instance: string, port: number, app = "shop"): PortEntry =>
  ({ app, env: "default", instance, node: "a".repeat(32), nodeName: "n1", port }) as unknown as PortEntry;
const came = (revision: number, value: PortEntry): HubEvent => ({
  revision,
  type: "port",
  key: portKey(value),
  value,
  more: false,
});

test("who was away until the hub forgot what changed is told what is other in the table, and goes on", async (t) => {
  const compacted = new SkeinError("STORE_COMPACTED", "Changes before revision 90 are forgotten.");
  const away = new SkeinError("HUB_UNREACHABLE", "no answer");
  const stop = new AbortController();
  const asked: (number | undefined)[] = [];
  const streams = [
    [came(11, entry("web.2", 2)), compacted],
    [came(101, entry("web.5", 5)), compacted],
    [came(202, entry("web.1", 1))],
  ];
  const tables = [
    away,
    [entry("web.1", 1), entry("web.2", 22), entry("web.4", 4), entry("other.1", 9, "other")],
    [entry("web.5", 5)],
  ];
  const client = {
    async *watch(_: AbortSignal, { from }: { readonly from?: number }) {
      asked.push(from);
      for (const one of streams.shift() ?? []) {
        if (one instanceof SkeinError) throw one;
        yield await Promise.resolve(one);
      }
      stop.abort();
    },
    async ports() {
      const next = tables.shift() ?? [];
      if (next instanceof SkeinError) throw next;
      return await Promise.resolve({ ports: next, revision: 300 - 100 * tables.length - 1 });
    },
  };
  const clock = { ...systemClock, sleep: async () => await Promise.resolve() };
  const operator = { clock, client } as unknown as Operator;
  const table = { ports: [entry("web.1", 1), entry("web.3", 3)], revision: 10 };
  let gaps = 0;
  const wish = { app: "shop", env: null, names: new Set(["n1"]) };
  const changes = portChanges(operator, table, wish, { signal: stop.signal, onGap: () => gaps++ });
  const told = await Array.fromAsync(changes, ({ event, entry: { instance, port } }) => {
    return `${event.revision} ${event.value === null ? "-" : "+"} ${instance}:${port}`;
  });
  assert.deepEqual(told, [
    "11 + web.2:2",
    "199 - web.3:3",
    "199 + web.2:22",
    "199 + web.4:4",
    "101 + web.5:5",
    "299 - web.1:1",
    "299 - web.2:22",
    "299 - web.4:4",
    "202 + web.1:1",
  ]);
  assert.deepEqual([asked, gaps], [[11, 200, 300], 1]);
  assert.ok(!t.signal.aborted);
});
