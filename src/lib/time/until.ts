import { timerMs } from "./clock.ts";

/**
 * A signal that aborts when one of `parents` does, or after `ms`, until it is disposed of. Unlike `AbortSignal.any`,
 * whose links are weak, each parent holds it: an abort that somebody waits for cannot be lost to the collector.
 */
export interface Until extends Disposable {
  readonly signal: AbortSignal;
  readonly abort: () => void;
}

/** As each abort without a reason would make one of its own, with a stack that nobody reads. */
const OVER = new DOMException("This operation was aborted", "AbortError");

export function until(parents: readonly AbortSignal[], ms?: number): Until {
  const controller = new AbortController();
  const stop = (): void => {
    controller.abort(OVER);
  };
  for (const parent of parents) {
    if (parent.aborted) controller.abort(parent.reason);
    parent.addEventListener("abort", stop, { once: true });
  }
  const timer = ms === undefined ? undefined : setTimeout(stop, timerMs(ms));
  return {
    signal: controller.signal,
    abort: stop,
    [Symbol.dispose]() {
      clearTimeout(timer);
      for (const parent of parents) parent.removeEventListener("abort", stop);
    },
  };
}
