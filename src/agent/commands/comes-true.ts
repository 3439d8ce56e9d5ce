import type { Clock } from "../../lib/time/clock.ts";
import { until } from "../../lib/time/until.ts";

export interface Waiting {
  readonly withinMs: number;
  /** Time between two looks, in ms. */
  readonly eachMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * Looks again and again until it is so. A look that is broken off when time is up is as good as one that said no.
 * @returns false when it was not so in time
 */
export async function comesTrue(
  isSo: (signal: AbortSignal) => Promise<boolean>,
  { withinMs, eachMs, clock, signal }: Waiting,
): Promise<boolean> {
  using over = until([signal], withinMs);
  while (!over.signal.aborted) {
    try {
      if (await isSo(over.signal)) return true;
    } catch (err) {
      if (!over.signal.aborted) throw err;
    }
    await clock.sleep(eachMs, over.signal).catch(() => undefined);
  }
  signal.throwIfAborted();
  return false;
}
