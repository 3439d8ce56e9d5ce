import type { Strategy } from "../trust/document/documents.ts";
import type { Drain, Keep, Limits, Restart } from "./manifest.ts";

/** Every value that is not asked for, in one table; `skein validate --full` prints them. All are the safe ones. */
export const DEFAULTS = {
  build: { withinMs: 30 * 60_000 },
  process: { overlap: true, count: 1 },
  listen: { gate: "auto", backlog: 4096 },
  ready: { everyMs: 1_000, passes: 2, withinMs: 30_000, aliveMs: 5_000 },
  live: { everyMs: 10_000, fails: 3 },
  drain: { signal: "TERM", windowMs: 1_000, withinMs: 30_000, now: "KILL" } satisfies Drain,
  restart: {
    backoffMinMs: 1_000,
    backoffMaxMs: 60_000,
    limit: 10,
    limitWithinMs: 600_000,
  } satisfies Restart,
  limits: { memoryBytes: null, cpu: null, files: null, pids: null } satisfies Limits,
  verify: { withinMs: 60_000 },
  user: "auto",
  hook: { withinMs: 60_000 },
  strategy: {
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
  } satisfies Strategy,
  beside: 0,
  keep: { releases: 5, good: 2, freeDisk: 0.1 } satisfies Keep,
} as const;
