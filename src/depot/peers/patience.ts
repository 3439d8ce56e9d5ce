/** How often it is looked how much of it is left, in ms. */
export const LOOK_MS = 250;
/** More time than that between two looks was not the peer's: this process was stopped. */
const MOST_MS = 2 * LOOK_MS;

export interface PatienceOptions {
  /** Who says nothing for so long is gone, in ms. */
  readonly silentMs: number;
  /** How long to wait for the whole of a piece, in ms; asked anew at each look. */
  readonly wholeMs: () => number;
}

/** `late`: before it began to send; `slow`: after. */
export type RunOut = "silent" | "late" | "slow";

/**
 * How long one peer is waited for. Only time in which this process ran counts: on a machine that stood still or is
 * busy, what came meanwhile was not read yet, and everybody would be found late at once.
 */
export class Patience {
  readonly #options: PatienceOptions;
  #lookedAt: number;
  #wholeMs = 0;
  #silentMs = 0;
  #isSending = false;
  #isPaused = false;

  /** @param now in ms of own time, as in each `look` */
  constructor(options: PatienceOptions, now: number) {
    this.#options = options;
    this.#lookedAt = now;
  }

  /** The peer said that it is still at it. */
  heard(): void {
    this.#silentMs = 0;
  }

  /** The peer begins to send. */
  sending(): void {
    this.#isSending = true;
  }

  /** What is waited for here is no fault of the peer's. */
  async pausedFor<T>(wait: Promise<T> | undefined): Promise<T | undefined> {
    this.#isPaused = true;
    const value = await wait;
    this.#isPaused = false;
    return value;
  }

  /** To be called every `LOOK_MS`. @returns why it has come to an end, if it has */
  look(now: number): RunOut | undefined {
    const passedMs = Math.min(now - this.#lookedAt, MOST_MS);
    this.#lookedAt = now;
    if (this.#isPaused) return undefined;
    this.#wholeMs += passedMs;
    this.#silentMs += passedMs;
    if (!this.#isSending && this.#silentMs > this.#options.silentMs) return "silent";
    if (this.#wholeMs <= this.#options.wholeMs()) return undefined;
    return this.#isSending ? "slow" : "late";
  }
}
