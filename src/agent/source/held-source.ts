import type { Source } from "./source.ts";

/**
 * The source that a node has. Its flows open it each time they need it, since a new charter may make it another one;
 * they are let in one by one, so that those which see a new charter at once come to one source and not to one each.
 */
export class HeldSource {
  readonly #open: (before: Source | undefined) => Promise<Source>;
  #current: Source | undefined;
  #opened: Promise<unknown> = Promise.resolve();

  /** @param open given the one before; what it gives back may be the same */
  constructor(open: (before: Source | undefined) => Promise<Source>) {
    this.#open = open;
  }

  /** The last one that was opened. */
  get current(): Source | undefined {
    return this.#current;
  }

  /** @throws what opening it does; the next call tries again */
  async open(): Promise<Source> {
    const opened = this.#opened.then(async () => (this.#current = await this.#open(this.#current)));
    this.#opened = opened.catch(() => undefined);
    return await opened;
  }
}
