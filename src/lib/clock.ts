import timers from "node:timers/promises";

/** Time as an argument: code that waits or dates takes one of these, so tests never sleep. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Resolves after `ms`; rejects with the signal's reason when it aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  sleep: async (ms, signal) => {
    await timers.setTimeout(ms, undefined, signal === undefined ? {} : { signal });
  },
};

/** Have `ms` passed since `at`? Where the clock was set back meanwhile nobody knows: then they have. */
export const hasPassed = (ms: number, at: number, now: number): boolean => now < at || now - at >= ms;
