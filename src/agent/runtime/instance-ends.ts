/** What another one who stops an instance means to do with it then. */
export type Meant = "end" | "start";

/** An instance that somebody has stopped to start it again. */
export interface Again extends Disposable {
  /** What another one means who has it stopped too, or has had since; that is then left to them. undefined: nobody has. */
  readonly taken: Meant | undefined;
}

/**
 * Who ends instances, and who only has them started again: a keeper stops an instance once for all who ask for that, and
 * what an order ends nobody may bring back who waited for the same stop.
 */
export class Ends {
  /** By those who are at it now. */
  readonly #stopping = new Map<string, Meant[]>();
  readonly #again = new Map<string, Set<{ taken: Meant | undefined }>>();

  /** Ends instances by `work`, or stops and starts them. */
  async during<T>(keys: readonly string[], work: () => Promise<T>, meant: Meant = "end"): Promise<T> {
    for (const key of keys) {
      this.#stopping.set(key, [...(this.#stopping.get(key) ?? []), meant]);
      for (const one of this.#again.get(key) ?? []) one.taken = meant;
    }
    try {
      return await work();
    } finally {
      for (const key of keys) this.#over(key, meant);
    }
  }

  /** From before the instance is stopped until it was started again. */
  again(key: string): Again {
    const all = this.#again.get(key) ?? new Set();
    const one = {
      taken: this.#stopping.get(key)?.at(-1),
      [Symbol.dispose]: () => {
        all.delete(one);
        if (all.size === 0 && this.#again.get(key) === all) this.#again.delete(key);
      },
    };
    this.#again.set(key, all.add(one));
    return one;
  }

  #over(key: string, meant: Meant): void {
    const others = [...(this.#stopping.get(key) ?? [])];
    others.splice(others.indexOf(meant), 1);
    if (others.length === 0) this.#stopping.delete(key);
    else this.#stopping.set(key, others);
  }
}
