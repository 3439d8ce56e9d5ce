import type { DepotReader } from "./depot.ts";

/** The same depot, whose blobs' bytes come another way. */
export function readBy(depot: DepotReader, get: DepotReader["get"]): DepotReader {
  return {
    kind: depot.kind,
    // A hub's follows the hub that answers.
    get name() {
      return depot.name;
    },
    has: async (names, signal) => await depot.has(names, signal),
    list: (prefix, signal) => depot.list(prefix, signal),
    get,
  };
}
