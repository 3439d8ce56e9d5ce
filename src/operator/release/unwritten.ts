import type { Depot } from "../../depot/seam/depot.ts";

/** A depot that takes everything and keeps nothing. */
export function unwritten(depot: Depot): Depot {
  const kept = new Set<string>();
  return {
    kind: depot.kind,
    name: depot.name,
    has: async (names, signal) => {
      const there = await depot.has(
        names.filter((name) => !kept.has(name)),
        signal,
      );
      return new Set([...there, ...names.filter((name) => kept.has(name))]);
    },
    list: (prefix, signal) => depot.list(prefix, signal),
    get: (name, signal, range) => depot.get(name, signal, range),
    put: async (name) => void kept.add(name),
    delete: async () => undefined,
  };
}
