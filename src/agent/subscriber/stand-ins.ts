import type { Outbox } from "../attempt/outbox.ts";
import type { Pace } from "../plan/goal.ts";
import type { Change, Instances } from "../attempt/instances.ts";

/** What a package has in the place of an agent's keeper, hub and receipts. */

const NOTHING: Change = { cut: 0, warnings: [] };

/** A package's files serve by being there; only what its manifest verifies is judged. */
export const noInstances: Instances = {
  running: async () => Promise.resolve([]),
  async judge(_plan, _replaces, verify, signal) {
    await verify({}, signal);
    return NOTHING;
  },
  serve: async () => Promise.resolve(NOTHING),
  retire: async () => Promise.resolve(NOTHING),
  fits: async () => Promise.resolve(true),
  trim: async () => Promise.resolve(NOTHING),
  drop: async () => Promise.resolve(NOTHING),
  settle: () => undefined,
  addresses: async () => Promise.resolve({}),
};

/** Nobody collects receipts here; the newest one stays in the package's record. */
export const noOutbox: Outbox = {
  put: async () => Promise.resolve(),
  isEmpty: true,
  offer: () => [],
  delivered: async () => Promise.resolve(),
};

/** Nobody paces: each node starts at its own moment within the order's `spread`. */
export const UNPACED: Pace = { gates: new Map(), reachable: false, duplicate: false };
