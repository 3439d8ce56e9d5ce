/** An instance that somebody has stopped to start it again. */
export interface Again extends Disposable {
  /** Somebody ends it, or has done so since: then it is not to be started again. */
  readonly isEnded: boolean;
}

/**
 * Who ends instances, and who only has them started again: a keeper stops an instance once for all who ask for that, and
 * what an order ends nobody may bring back who waited for the same stop.
 */
export class Ends {
  /** Instances that are being ended, and by how many. */
  readonly #ending = new Map<string, number>();
  readonly #again = new Map<string, Set<{ isEnded: boolean }>>();

  /** Ends instances by `work`. */
  async during<T>(keys: readonly string[], work: () => Promise<T>): Promise<T> {
    for (const key of keys) {
      this.#ending.set(key, (this.#ending.get(key) ?? 0) + 1);
      for (const one of this.#again.get(key) ?? []) one.isEnded = true;
    }
    try {
      return await work();
    } finally {
      for (const key of keys) this.#ended(key);
    }
  }

  /** From before the instance is stopped until it was started again. */
  again(key: string): Again {
    const all = this.#again.get(key) ?? new Set();
    const one = {
      isEnded: this.#ending.has(key),
      [Symbol.dispose]: () => {
        all.delete(one);
        if (all.size === 0 && this.#again.get(key) === all) this.#again.delete(key);
      },
    };
    this.#again.set(key, all.add(one));
    return one;
  }

  #ended(key: string): void {
    const others = (this.#ending.get(key) ?? 1) - 1;
    if (others === 0) this.#ending.delete(key);
    else this.#ending.set(key, others);
  }
}
