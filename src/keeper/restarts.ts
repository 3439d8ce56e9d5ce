import type { RestartSpec } from "./protocol.ts";

/**
 * Delay before the restart after one more crash, in ms; undefined when it may not be restarted again.
 *
 *   delay = min(backoffMin * 2^(crashes within limitWithin), backoffMax)
 *
 * `crashTimes` are the earlier crashes, in ms since the epoch.
 */
export function restartDelayMs(
  crashTimes: readonly number[],
  restart: RestartSpec | null,
  nowMs: number,
): number | undefined {
  if (restart === null) return undefined;
  const recent = crashTimes.filter((at) => at > nowMs - restart.limitWithinMs).length;
  if (recent >= restart.limit) return undefined;
  return Math.min(restart.backoffMinMs * 2 ** recent, restart.backoffMaxMs);
}
