import type { Clock } from "../../lib/clock.ts";
import type { DepotReader } from "../depot.ts";
import { readBy } from "../read-by.ts";
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

/** Holds a process to its limits: whatever sends or receives blobs asks it first. */
export class Traffic {
  readonly #clock: Clock;
  readonly #down: TokenBucket | undefined;
  readonly #up: TokenBucket | undefined;
  #free: number;
  /** Those who wait for a turn, the first to come first. */
  readonly #queue: (() => void)[] = [];

  constructor(limits: TrafficLimits, clock: Clock) {
    const { downPerSec, upPerSec, atOnce = Infinity } = limits;
    this.#clock = clock;
    this.#down = downPerSec === undefined ? undefined : new TokenBucket(downPerSec, clock.now());
    this.#up = upPerSec === undefined ? undefined : new TokenBucket(upPerSec, clock.now());
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
    return this.#held(depot, this.down.bind(this));
  }

  /** The same depot for whom it is sent to: reads are paced as what goes out. */
  sending(depot: DepotReader): DepotReader {
    return this.#held(depot, this.up.bind(this));
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

  #held(depot: DepotReader, wait: (bytes: number, signal: AbortSignal) => Promise<void>): DepotReader {
    const turn = this.turn.bind(this);
    return readBy(depot, async function* (name, signal, range) {
      using held = await turn(signal);
      void held;
      for await (const piece of depot.get(name, signal, range)) {
        await wait(piece.length, signal);
        yield piece;
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
