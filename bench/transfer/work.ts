import type { Pair } from "./pairs.ts";

/** What is measured beside the pairs: `many` with those of them that ten receivers are tried with, if any. */
export const EXTRAS = ["unchanged", "simulated", "many", "limit", "large"] as const;
export type Extra = (typeof EXTRAS)[number];

export const isExtra = (name: string): name is Extra => EXTRAS.some((extra) => extra === name);

/** What the process in namespaces of its own is given to do. */
export interface Work {
  /** Where everything lies; removed when the benchmark ends. */
  readonly dir: string;
  readonly quick: boolean;
  readonly pairs: readonly Pair[];
  readonly extras: readonly Extra[];
}
