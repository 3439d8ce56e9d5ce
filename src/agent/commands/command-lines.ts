import type { Clock } from "../../lib/time/clock.ts";
import type { InstallProgress } from "../../release/install/install-progress.ts";

/** One line of a command's answer, as JSON. */
export type Line = Readonly<Record<string, unknown>>;

const EACH_MS = 500;

/**
 * Does work that tells of its progress, and gives a line of it twice a second at most: whoever reads slowly must not
 * hold the work up. @returns what the work comes to
 */
export async function* linesOf<T>(
  work: (tell: (progress: InstallProgress) => void) => Promise<T>,
  clock: Clock,
): AsyncGenerator<Line, T> {
  let latest: InstallProgress | undefined;
  const over = new AbortController();
  const ended = work((progress) => (latest = progress)).finally(() => over.abort());
  ended.catch(() => undefined);
  while (!over.signal.aborted) {
    await clock.sleep(EACH_MS, over.signal).catch(() => undefined);
    if (latest === undefined) continue;
    yield { type: "progress", ...latest };
    latest = undefined;
  }
  return await ended;
}
