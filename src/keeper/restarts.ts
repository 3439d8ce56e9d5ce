import type { RestartSpec } from "./protocol.ts";

/**
 * Delay before the restart after one more crash, in ms; undefined when it may not be restarted again.
 *
 *   delay = min(backoffMin * 2^(crashes within limitWithin), backoffMax)
 *
 * `crashTimes` are the earlier crashes, in ms since the epoch. Those of a time that is still to come were before the clock
 * was set back: nobody knows how long ago.
 */
export function restartDelayMs(
  crashTimes: readonly number[],
  restart: RestartSpec | null,
  nowMs: number,
): number | undefined {
  if (restart === null) return undefined;
  const recent = crashTimes.filter((at) => at > nowMs - restart.limitWithinMs && at <= nowMs).length;
  if (recent >= restart.limit) return undefined;
  return Math.min(restart.backoffMinMs * 2 ** recent, restart.backoffMaxMs);
}
