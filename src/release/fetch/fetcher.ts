import { systemClock, type Clock } from "../../lib/time/clock.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { retryDelayMs } from "../../lib/time/retry.ts";
import type { DepotKind, DepotReader } from "../../depot/seam/depot.ts";
import { readBy } from "../../depot/seam/read-by.ts";

const TRIES = 5;
const BACKOFF = { baseMs: 100, maxMs: 3000 } as const;

/** Depots tried in order: whoever lacks something, fails or lies is passed over for the next. Counts what came. */
export class Fetcher {
  readonly #depots: readonly DepotReader[];
  readonly #clock: Clock;
  readonly signal: AbortSignal;
  /** Bytes that came so far, of everything, by what they came from. */
  readonly bytesBy = new Map<DepotKind, number>();

  constructor(depots: readonly DepotReader[], signal: AbortSignal, clock: Clock = systemClock) {
    this.#depots = depots.map((depot) => counting(depot, (kind, bytes) => this.#count(kind, bytes)));
    this.#clock = clock;
    this.signal = signal;
  }

  /**
   * Runs `attempt` on one depot after the other until one succeeds. A lack or damage rules a depot out; anything
   * else (a cut connection) is tried again with growing pauses.
   * @throws the last failure, or BLOB_MISSING when there is no depot; what {@link NotTaken} was caused by, at once
   */
  async try<T>(attempt: (depot: DepotReader) => Promise<T>): Promise<T> {
    let depots = [...this.#depots];
    let failure: unknown = new SkeinError("BLOB_MISSING", "there is no depot to read from");
    for (let n = 1; n <= TRIES && depots.length > 0; n++) {
      if (n > 1)
        await this.#clock.sleep(retryDelayMs(n - 1, { ...BACKOFF, random: Math.random }), this.signal);
      for (const depot of depots) {
        this.signal.throwIfAborted();
        try {
          return await attempt(depot);
        } catch (err) {
          this.signal.throwIfAborted();
          if (err instanceof NotTaken) throw err.cause;
          // A real fault outlives a lack elsewhere: it says more about what to do.
          if (!isSkeinError(failure) || isSkeinError(failure, "BLOB_MISSING")) failure = err;
          if (isFinal(err)) depots = depots.filter((other) => other !== depot);
        }
      }
    }
    throw failure;
  }

  /** What each of the depots gives; those that give nothing are passed over. */
  async each<T>(attempt: (depot: DepotReader) => Promise<T>): Promise<T[]> {
    const all = await Promise.allSettled(this.#depots.map(attempt));
    this.signal.throwIfAborted();
    return all.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  }

  get bytes(): number {
    return this.bytesBy.values().reduce((sum, bytes) => sum + bytes, 0);
  }

  #count(kind: DepotKind, bytes: number): void {
    this.bytesBy.set(kind, (this.bytesBy.get(kind) ?? 0) + bytes);
  }
}

/** Whoever took the bytes failed (a full disk): another depot would only bring them again. */
export class NotTaken extends Error {}

function counting(depot: DepotReader, count: (kind: DepotKind, bytes: number) => void): DepotReader {
  if (depot.counted !== undefined) return depot.counted(count);
  return readBy(depot, async function* (name, signal, range) {
    for await (const piece of depot.get(name, signal, range)) {
      count(depot.kind, piece.length);
      yield piece;
    }
  });
}

function isFinal(err: unknown): boolean {
  return isSkeinError(
    err,
    "BLOB_MISSING",
    "CHUNK_CORRUPT",
    "PACK_CORRUPT",
    "TREE_CORRUPT",
    "DELTA_CORRUPT",
    "DISK_FULL",
  );
}
