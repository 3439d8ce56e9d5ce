import type { Clock } from "../../lib/time/clock.ts";
import type { ByteRange, DepotReader } from "../seam/depot.ts";
import { readBy } from "../seam/read-by.ts";
import { TokenBucket } from "./token-bucket.ts";

/** What a process may use of its line for blobs. Documents are small and never wait. */
export interface TrafficLimits {
  /** Bytes a second that come in. Default: as many as come. */
  readonly downPerSec?: number | undefined;
  /** Bytes a second that go out. Default: as many as go. */
  readonly upPerSec?: number | undefined;
  /** Transfers at a time; more wait for their turn. Default: no bound. */
  readonly atOnce?: number | undefined;
}

/**
 * At a limit no more is asked for at once than may come in so long, in ms. The rest would come all the same, as fast as
 * the line is, and lie in the system's buffers, which end with the process: all of it is sent again to who was killed.
 * Less of it would have a far server's answers waited for more than a tenth of the time.
 */
const ASKED_MS = 500;
const LEAST_ASKED_BYTES = 256 * 1024;

/** Holds a process to its limits: whatever sends or receives blobs asks it first. */
export class Traffic {
  readonly #clock: Clock;
  readonly #down: TokenBucket | undefined;
  readonly #up: TokenBucket | undefined;
  /** Most that is read by one request, in bytes. */
  readonly #mostAsked: number;
  #free: number;
  /** Those who wait for a turn, the first to come first. */
  readonly #queue: (() => void)[] = [];

  constructor(limits: TrafficLimits, clock: Clock) {
    const { downPerSec, upPerSec, atOnce = Infinity } = limits;
    this.#clock = clock;
    this.#down = downPerSec === undefined ? undefined : new TokenBucket(downPerSec, clock.now());
    this.#up = upPerSec === undefined ? undefined : new TokenBucket(upPerSec, clock.now());
    this.#mostAsked = Math.max(LEAST_ASKED_BYTES, ((downPerSec ?? Infinity) * ASKED_MS) / 1000);
    this.#free = atOnce;
  }

  /** Waits until so many bytes may have come in. */
  async down(bytes: number, signal: AbortSignal): Promise<void> {
    await this.#wait(this.#down, bytes, signal);
  }

  /** Waits until so many bytes may go out. */
  async up(bytes: number, signal: AbortSignal): Promise<void> {
    await this.#wait(this.#up, bytes, signal);
  }

  /** A turn for one transfer, until it is given back. */
  async turn(signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted();
    if (this.#free > 0) this.#free -= 1;
    else await this.#wasGiven(signal);
    return {
      [Symbol.dispose]: () => {
        // Handed on at once: whoever asks before the next one wakes must not come in between.
        const next = this.#queue.shift();
        if (next === undefined) this.#free += 1;
        else next();
      },
    };
  }

  /** The same depot, read within the limits. */
  reading(depot: DepotReader): DepotReader {
    return this.#held(depot, this.down.bind(this), Math.floor(this.#mostAsked));
  }

  /** The same depot for whom it is sent to: reads are paced as what goes out. */
  sending(depot: DepotReader): DepotReader {
    return this.#held(depot, this.up.bind(this), Infinity);
  }

  /** The same bytes, taken in within the limits: one transfer. */
  async *receiving(bytes: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
    using held = await this.turn(signal);
    void held;
    for await (const piece of bytes) {
      await this.down(piece.length, signal);
      yield piece;
    }
  }

  #held(
    depot: DepotReader,
    wait: (bytes: number, signal: AbortSignal) => Promise<void>,
    mostAsked: number,
  ): DepotReader {
    const turn = this.turn.bind(this);
    return readBy(depot, async function* (name, signal, range) {
      using held = await turn(signal);
      void held;
      for (const part of partsOf(range, mostAsked)) {
        let lacking = part?.end === undefined ? 0 : part.end - part.start;
        for await (const piece of depot.get(name, signal, part)) {
          lacking -= piece.length;
          await wait(piece.length, signal);
          yield piece;
        }
        if (lacking > 0) return; // the blob ends
      }
    });
  }

  async #wait(bucket: TokenBucket | undefined, bytes: number, signal: AbortSignal): Promise<void> {
    const ms = bucket?.take(bytes, this.#clock.now()) ?? 0;
    if (ms >= 1) await this.#clock.sleep(ms, signal);
  }

  async #wasGiven(signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = (): void => {
      const at = this.#queue.indexOf(resolve);
      if (at >= 0) this.#queue.splice(at, 1);
      reject(signal.reason);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    this.#queue.push(resolve);
    try {
      await promise;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }
}

/** A range in parts of at most so many bytes; all of a blob, however long, is one. */
function* partsOf(range: ByteRange | undefined, most: number): Generator<ByteRange | undefined> {
  if (range?.end === undefined) yield range;
  else
    for (let start = range.start; start < range.end; start += most)
      yield { start, end: Math.min(start + most, range.end) };
}
