import { setTimeout as sleep } from "node:timers/promises";
import { SkeinError } from "../../lib/errors.ts";

/** Gits at once. */
const MOST = 32;
/** Of these, one operator's: whoever holds them for long, by a cut line or with a script, holds up no other. */
const MOST_OF_ONE = 24;
/** A push takes a fraction of a second: so long a place comes free for the last of hundreds. */
const WAIT_MS = 20_000;
const MOST_WAITING = 512;

interface Waiting {
  readonly owner: string;
  readonly come: () => void;
}

export interface PlaceLimits {
  readonly most?: number;
  readonly mostOfOne?: number;
  readonly waitMs?: number;
  readonly mostWaiting?: number;
}

/** Who may have a git run at present. Others wait their turn, first come, first served. */
export class Places {
  readonly #limits: Required<PlaceLimits>;
  readonly #taken = new Map<string, number>();
  readonly #waiting = new Set<Waiting>();

  constructor({
    most = MOST,
    mostOfOne = MOST_OF_ONE,
    waitMs = WAIT_MS,
    mostWaiting = MOST_WAITING,
  }: PlaceLimits = {}) {
    this.#limits = { most, mostOfOne, waitMs, mostWaiting };
  }

  /**
   * Waits for a place; whoever gets it gives it back by disposing of it.
   * @param signal ends the waiting
   * @throws SkeinError TOO_MANY when none came free in time
   */
  async take(owner: string, signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted();
    if (!this.#isFree(owner)) await this.#turn(owner, signal);
    else this.#count(owner, 1);
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (!isHeld) return;
        isHeld = false;
        this.#count(owner, -1);
        this.#callNext();
      },
    };
  }

  async #turn(owner: string, signal: AbortSignal): Promise<void> {
    if (this.#waiting.size >= this.#limits.mostWaiting) throw tooMany();
    const turn = Promise.withResolvers<true>();
    const waiting: Waiting = { owner, come: () => turn.resolve(true) };
    this.#waiting.add(waiting);
    const over = new AbortController();
    try {
      const patience = sleep(this.#limits.waitMs, false, {
        signal: AbortSignal.any([signal, over.signal]),
      });
      if (!(await Promise.race([turn.promise, patience]))) throw tooMany();
    } catch (err) {
      // It was given one in the very moment in which it gave up.
      if (!this.#waiting.has(waiting)) {
        this.#count(owner, -1);
        this.#callNext();
      }
      throw err;
    } finally {
      this.#waiting.delete(waiting);
      over.abort();
    }
  }

  #callNext(): void {
    for (const waiting of this.#waiting) {
      if (!this.#isFree(waiting.owner)) continue;
      this.#waiting.delete(waiting);
      this.#count(waiting.owner, 1);
      waiting.come();
    }
  }

  #isFree(owner: string): boolean {
    const all = [...this.#taken.values()].reduce((sum, count) => sum + count, 0);
    return all < this.#limits.most && (this.#taken.get(owner) ?? 0) < this.#limits.mostOfOne;
  }

  #count(owner: string, change: number): void {
    const count = (this.#taken.get(owner) ?? 0) + change;
    if (count === 0) this.#taken.delete(owner);
    else this.#taken.set(owner, count);
  }
}

const tooMany = (): SkeinError => new SkeinError("TOO_MANY", "too many git connections");
