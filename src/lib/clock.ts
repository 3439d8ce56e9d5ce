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
