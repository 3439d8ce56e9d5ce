import type { Strategy } from "./document/documents.ts";

/** A strategy as manifests have it that say nothing of it. */
export const ROLLING: Strategy = {
  type: "rolling",
  batch: "25%",
  maxUnavailable: 1,
  maxAbsent: "5%",
  maxFailed: 0,
  steps: [],
  judge: null,
  bakeMs: 30_000,
  onFailure: "undo",
  spreadMs: 600_000,
};

/** To all nodes together, and nothing is waited for. */
export const AT_ONCE: Strategy = {
  ...ROLLING,
  type: "all_at_once",
  batch: 1,
  maxAbsent: 0,
  bakeMs: 0,
  spreadMs: 0,
};
