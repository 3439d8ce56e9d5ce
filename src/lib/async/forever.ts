import type { Clock } from "../time/clock.ts";
import { isSkeinError, messageOf } from "../errors/errors.ts";
import type { Log } from "../process/log.ts";
import { retryDelayMs } from "../time/retry.ts";
import { until } from "../time/until.ts";

const BACKOFF = { baseMs: 200, maxMs: 15_000 } as const;

export interface ForeverOptions {
  /** For the log. */
  readonly what: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** Before each pause after a failure. */
  readonly onFailure?: () => void;
}

/**
 * Runs `turn` again and again until the signal aborts. A failure is told once, until it has passed, and tried again
 * with growing, jittered pauses.
 */
export async function forever(
  { what, clock, log, signal, onFailure }: ForeverOptions,
  turn: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  for (let failures = 0; !signal.aborted;) {
    try {
      await turn(signal);
      if (failures > 0) log.info("answers again", { what });
      failures = 0;
    } catch (err) {
      if (signal.aborted) return;
      failures += 1;
      const code = isSkeinError(err) ? err.code : "INTERNAL";
      if (failures === 1) log.warn("no answer", { what, "err.code": code, "err.message": messageOf(err) });
      onFailure?.();
      const ms = retryDelayMs(failures, { ...BACKOFF, random: Math.random });
      await clock.sleep(ms, signal).catch(() => undefined);
    }
  }
}

export interface Waits {
  /** Without any news. */
  readonly mostMs: number;
  /** After the first news. */
  readonly gatherMs: number;
}

/** Something that happened and that somebody will look at. News that come together are looked at together. */
export class News {
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  #next = Promise.withResolvers<void>();
  /** When news that may wait are looked at. */
  #due = Infinity;

  constructor(clock: Clock, signal: AbortSignal) {
    this.#clock = clock;
    this.#signal = signal;
  }

  /** @param withinMs they may wait for others so long */
  tell(withinMs = 0): void {
    const next = this.#next;
    const due = this.#clock.now() + withinMs;
    if (due >= this.#due) return;
    this.#due = due;
    if (withinMs === 0) next.resolve();
    else void this.#clock.sleep(withinMs, this.#signal).then(next.resolve, next.resolve);
  }

  async wait({ mostMs, gatherMs }: Waits, signal: AbortSignal): Promise<void> {
    using over = until([signal]);
    const timer = this.#clock.sleep(mostMs, over.signal).catch(() => undefined);
    await Promise.race([this.#next.promise, timer]);
    over.abort();
    await this.#clock.sleep(gatherMs, signal).catch(() => undefined);
    this.#next = Promise.withResolvers();
    this.#due = Infinity;
  }
}
