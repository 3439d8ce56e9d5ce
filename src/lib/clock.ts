import timers from "node:timers/promises";

/** Time as an argument: code that waits or dates takes one of these, so tests never sleep. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Resolves after `ms`; rejects with the signal's reason when it aborts. `ref`: it keeps the process alive. Default: it does. */
  sleep(ms: number, signal?: AbortSignal, options?: { readonly ref: boolean }): Promise<void>;
}

/** A timer of more, some 24 days, would be over at once. */
const LONGEST_MS = 2 ** 31 - 1;

/** As long as a timer may be: for what ends something, and may as well end it after 24 days. */
export const timerMs = (ms: number): number => Math.min(ms, LONGEST_MS);

export const systemClock: Clock = {
  now: () => Date.now(),
  sleep: async (ms, signal, options = { ref: true }) => {
    const timer = signal === undefined ? options : { ...options, signal };
    for (let left = ms; ;) {
      await timers.setTimeout(timerMs(left), undefined, timer);
      left -= LONGEST_MS;
      if (!(left > 0)) return;
    }
  },
};

/** Time that nobody sets, from any start: for what one process compares with its own alone. */
export const steadyClock: Clock = { ...systemClock, now: () => performance.now() };

/** Have `ms` passed since `at`? Where the clock was set back meanwhile nobody knows: then they have. */
export const hasPassed = (ms: number, at: number, now: number): boolean => now < at || now - at >= ms;
