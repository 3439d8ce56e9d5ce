/**
 * How long to wait so that a rate holds, as a function of time alone.
 *
 *   credit grows by `perSec` a second, up to what a twentieth of a second brings; whoever takes more than there is
 *   waits until the debt is paid:   wait = debt / perSec
 *
 * So over any time T at most perSec * (T + 0.05 s) bytes pass, and one taking (a piece of 256 KiB) more.
 */
export class TokenBucket {
  readonly #perMs: number;
  readonly #burst: number;
  #credit: number;
  #at: number;

  /** @param perSec bytes a second, above 0 */
  constructor(perSec: number, now: number) {
    this.#perMs = perSec / 1000;
    this.#burst = perSec / 20;
    this.#credit = this.#burst;
    this.#at = now;
  }

  /** Takes so many bytes. @returns how long to wait before they may pass, in ms */
  take(bytes: number, now: number): number {
    // Where the clock was set back nobody knows how long it is since the last: no time, and counted from now on.
    const passed = Math.max(0, now - this.#at);
    this.#at = now;
    this.#credit = Math.min(this.#burst, this.#credit + passed * this.#perMs) - bytes;
    return this.#credit >= 0 ? 0 : -this.#credit / this.#perMs;
  }
}
