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

/**
 * Failures in a row of work that goes on where it ended: who got further than ever before has begun a new row, so that
 * cuts of a poor line do not add up to longer and longer pauses.
 */
export class FailureRow {
  #length = 0;
  #furthest = 0;

  get length(): number {
    return this.#length;
  }

  failed(): void {
    this.#length += 1;
  }

  /** @param done of this try, in any unit that is the same for all of them */
  reached(done: number): void {
    if (done <= this.#furthest) return;
    this.#furthest = done;
    this.#length = 0;
  }

  /** The work is done, or another one begins. */
  end(): void {
    this.#length = 0;
    this.#furthest = 0;
  }
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
