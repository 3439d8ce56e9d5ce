import type { Clock } from "./clock.ts";

export interface Backoff {
  readonly baseMs: number;
  readonly maxMs: number;
  /** In [0, 1). */
  readonly random: () => number;
}

/**
 * Delay before retry `n` (1-based), in ms.
 *
 *   delay = min(base * n², max) * (0.5 + random)      random in [0, 1)
 *
 * Squares grow more gently than doubling; the random half keeps 10 000 nodes
 * from calling back together after a hub restart.
 */
export function retryDelayMs(n: number, backoff: Backoff): number {
  return Math.min(backoff.baseMs * n * n, backoff.maxMs) * (0.5 + backoff.random());
}

export interface RetryOptions extends Backoff {
  /** Tries in all, the first included. */
  readonly tries: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Whether this failure may pass by itself. */
  readonly worthRetrying: (err: unknown) => boolean;
}

/** Runs `attempt` until it succeeds, the tries are used up, or a failure is final; throws the last failure. */
export async function retry<T>(attempt: () => Promise<T>, options: RetryOptions): Promise<T> {
  for (let n = 1; ; n++) {
    options.signal.throwIfAborted();
    try {
      return await attempt();
    } catch (err) {
      if (n >= options.tries || !options.worthRetrying(err)) throw err;
    }
    await options.clock.sleep(retryDelayMs(n, options), options.signal);
  }
}
