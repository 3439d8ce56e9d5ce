import { isSkeinError } from "../../lib/errors/errors.ts";
import type { Clock } from "../../lib/time/clock.ts";
import { retry } from "../../lib/time/retry.ts";
import { NotConnected } from "./tls.ts";

export interface HearingOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Told when an answer was lost: whoever was asked may have heard. */
  readonly onLost?: () => void;
}

/** Over a line that is cut for 20 s twice in a row, an answer comes with the third try. */
const TRIES = { tries: 4, baseMs: 500, maxMs: 5000, random: Math.random } as const;

/**
 * Says again what does no more when it is heard twice, where the answer was lost. Whoever was not there at first is
 * waited for by the line's own patience, and not here.
 */
export async function untilHeard<T>(
  say: () => Promise<T>,
  { clock, signal, onLost }: HearingOptions,
): Promise<T> {
  let wasLost = false;
  return await retry(say, {
    ...TRIES,
    clock,
    signal,
    worthRetrying: (err) => {
      if (!isSkeinError(err, "HUB_UNREACHABLE")) return false;
      wasLost ||= !(err instanceof NotConnected);
      if (wasLost) onLost?.();
      return wasLost;
    },
  });
}
