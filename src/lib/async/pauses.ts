import { setImmediate } from "node:timers/promises";

/** Some 30 ms of reading and hashing. */
const TURN_BYTES = 8 * 2 ** 20;

/** For work over many bytes in one go: other work of the process gets its turn, and who waits may leave. */
export class Pauses {
  readonly #signal: AbortSignal;
  #bytes = 0;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  /** So much was done since the last time. @throws the signal's reason */
  async took(bytes: number): Promise<void> {
    this.#bytes += bytes;
    if (this.#bytes < TURN_BYTES) return;
    this.#bytes = 0;
    await setImmediate();
    this.#signal.throwIfAborted();
  }
}
