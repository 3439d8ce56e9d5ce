import { hasPassed } from "../time/clock.ts";

/** Who hands documents over can make up ever new ones: what is said of them has a bound. */
const MOST = 1000;
const WITHIN_MS = 3_600_000;

/** What was said already. So much of it is remembered, and so much that is new is said within an hour. */
export class SaidOnce {
  /** When it was said, the oldest first. */
  readonly #said = new Map<string, number>();

  /** Is it to be said now? Then it counts as said. */
  isNews(what: string, now: number): boolean {
    if (this.#said.has(what)) return false;
    const [oldest] = this.#said;
    if (oldest !== undefined && this.#said.size >= MOST) {
      const [first, at] = oldest;
      if (!hasPassed(WITHIN_MS, at, now)) return false;
      this.#said.delete(first);
    }
    this.#said.set(what, now);
    return true;
  }

  /** What was to follow from it failed: it is news again. */
  unsay(what: string): void {
    this.#said.delete(what);
  }
}
