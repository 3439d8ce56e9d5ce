import { performance } from "node:perf_hooks";

/**
 * Time of this thread in ms, from any start: in which it worked, and in which it had nothing to do. Time in which it
 * would have worked and was not let, on a busy machine, is not in it: what came meanwhile was not read yet, and is
 * nobody else's delay.
 */
export function ownTimeMs(): number {
  const { user, system } = process.threadCpuUsage();
  return performance.eventLoopUtilization().idle + (user + system) / 1000;
}

/** Calls `over` when `ms` of this thread's own time have passed. @returns what calls that off */
export function afterOwnMs(ms: number, over: () => void): () => void {
  const end = ownTimeMs() + ms;
  const look = (): void => {
    const leftMs = end - ownTimeMs();
    if (leftMs > 0) timer = setTimeout(look, leftMs);
    else over();
  };
  let timer = setTimeout(look, ms);
  return () => clearTimeout(timer);
}
