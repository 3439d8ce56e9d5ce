import type { Core } from "../records/core.ts";

/** A clock that goes so much further than this process has lived was set, or the process was stopped. */
const UNSEEN_MS = 2000;

/** Since when somebody looks without a break, by the hub's clock. */
export class Watchful {
  readonly #core: Pick<Core, "clock" | "lived">;
  #since: number;
  #clockAt: number;
  #livedAt: number;

  constructor(core: Pick<Core, "clock" | "lived">) {
    this.#core = core;
    this.#since = this.#clockAt = core.clock.now();
    this.#livedAt = core.lived.now();
  }

  get since(): number {
    return this.#since;
  }

  /** Where nobody looked for a while, the wait for nodes to call begins anew; where the clock was set back, too. */
  look(): void {
    const [now, livedNow] = [this.#core.clock.now(), this.#core.lived.now()];
    const unseenMs = now - this.#clockAt - (livedNow - this.#livedAt);
    this.#since = unseenMs > UNSEEN_MS ? now : Math.min(this.#since, now);
    [this.#clockAt, this.#livedAt] = [now, livedNow];
  }
}
