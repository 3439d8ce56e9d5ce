import type { Clock } from "./clock.ts";

/** A clock for tests: it stands still until it is advanced, then wakes all whose time has come, the earliest first. */
export interface FakeClock extends Clock {
  advance(ms: number): void;
}

interface Sleeper {
  readonly wakeAt: number;
  wake(): void;
}

export function fakeClock(startMs: number = Date.parse("2026-01-01T00:00:00.000Z")): FakeClock {
  let now = startMs;
  const sleepers = new Set<Sleeper>();
  return {
    now: () => now,
    async sleep(ms, signal) {
      signal?.throwIfAborted();
      const { promise, resolve, reject } = Promise.withResolvers<undefined>();
      const sleeper = { wakeAt: now + ms, wake: () => resolve(undefined) };
      const onAbort = (): void => reject(signal?.reason as Error);
      sleepers.add(sleeper);
      signal?.addEventListener("abort", onAbort);
      try {
        await promise;
      } finally {
        sleepers.delete(sleeper);
        signal?.removeEventListener("abort", onAbort);
      }
    },
    advance(ms) {
      now += ms;
      const due = [...sleepers].filter((sleeper) => sleeper.wakeAt <= now);
      for (const sleeper of due.sort((a, b) => a.wakeAt - b.wakeAt)) sleeper.wake();
    },
  };
}
