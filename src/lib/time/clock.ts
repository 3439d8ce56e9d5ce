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
  sleep: async (ms, signal, { ref } = { ref: true }) => {
    for (let left = ms; ;) {
      await timer(timerMs(left), signal, ref);
      left -= LONGEST_MS;
      if (!(left > 0)) return;
    }
  },
};

/** Most waits of a server are cut short, and Node's own timer makes an error with its stack for each that is. */
async function timer(ms: number, signal: AbortSignal | undefined, ref: boolean): Promise<void> {
  signal?.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const running = setTimeout(resolve, ms);
  if (!ref) running.unref();
  const cut = (): void => reject(signal?.reason as Error);
  signal?.addEventListener("abort", cut, { once: true });
  try {
    await promise;
  } finally {
    clearTimeout(running);
    signal?.removeEventListener("abort", cut);
  }
}

/** Have `ms` passed since `at`? Where the clock was set back meanwhile nobody knows: then they have. */
export const hasPassed = (ms: number, at: number, now: number): boolean => now < at || now - at >= ms;
