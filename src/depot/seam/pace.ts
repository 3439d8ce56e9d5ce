import type { Readable } from "node:stream";

export interface Pace {
  /** How long to wait for data in all before it is asked how much came, in ms. */
  readonly windowMs: number;
  /** Least bytes in that time. */
  readonly leastBytes: number;
}

/** A KiB a second is slower than any line that is worth waiting for. */
export const PACE: Pace = { windowMs: 20_000, leastBytes: 20 * 1024 };

/** A transfer that moved on by this much between two failures is worth as many tries again; less is no progress. */
export const PROGRESS_BYTES = 64 * 1024;

/** A body's bytes, ended with `tooSlow()` when it hangs or drips. */
export async function* paced(
  body: Readable,
  pace: Pace,
  tooSlow: () => Error,
): AsyncGenerator<Uint8Array, void> {
  try {
    yield* atPace(body, pace, () => body.destroy(tooSlow()));
  } finally {
    body.destroy();
  }
}

/**
 * The same bytes; calls `cut` when they hang or drip. Only the time that is spent waiting for the sender counts: a
 * reader that takes its time, or is held back by a limit of its own, is no fault of the line.
 */
export async function* atPace(
  bytes: AsyncIterable<Uint8Array>,
  pace: Pace,
  cut: () => void,
): AsyncGenerator<Uint8Array, void> {
  const every = Math.max(10, Math.min(1000, pace.windowMs / 4));
  let waiting = true;
  let waited = 0;
  let came = 0;
  const timer = setInterval(() => {
    waited = waiting ? waited + every : waited;
    if (waited < pace.windowMs) return;
    if (came < pace.leastBytes) cut();
    waited = 0;
    came = 0;
  }, every);
  try {
    for await (const piece of bytes) {
      came += piece.length;
      waiting = false;
      yield piece;
      waiting = true;
    }
  } finally {
    clearInterval(timer);
  }
}
