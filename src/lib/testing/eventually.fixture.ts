import { PATIENCE_MS } from "./patience.fixture.ts";

export interface Waiting {
  readonly withinMs?: number;
  readonly everyMs?: number;
  readonly signal?: AbortSignal;
  /** Failures of `look` after which looking again is no use. */
  readonly giveUp?: (err: unknown) => boolean;
}

/**
 * Looks again and again until there is something, and returns it. Nothing is undefined, null or false, and a failure
 * too: what is waited for is often not even there to be asked.
 * @throws Error naming `what`, with the last failure as its cause, when it did not come
 */
export async function eventually<T>(
  what: string,
  look: () => T | Promise<T>,
  { withinMs = PATIENCE_MS, everyMs = 20, signal, giveUp }: Waiting = {},
): Promise<Exclude<T, undefined | null | false>> {
  const end = performance.now() + withinMs;
  for (;;) {
    signal?.throwIfAborted();
    let cause: unknown;
    try {
      const found = await look();
      if (isSomething(found)) return found;
    } catch (err) {
      if (giveUp?.(err) === true) throw err;
      cause = err;
    }
    if (performance.now() > end) throw new Error(`${what}: not within ${withinMs} ms`, { cause });
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

function isSomething<T>(found: T): found is Exclude<T, undefined | null | false> {
  return found !== undefined && found !== null && found !== false;
}
