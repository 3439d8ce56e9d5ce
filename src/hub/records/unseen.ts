import type { Core } from "./core.ts";

/** A clock that goes so much further than this process has lived was set, or the process was stopped. */
const UNSEEN_MS = 2000;

/** Time that passed by the hub's clock, and in which nobody looked. */
export class Unseen {
  readonly #core: Pick<Core, "clock" | "lived">;
  #clockAt: number;
  #livedAt: number;

  constructor(core: Pick<Core, "clock" | "lived">) {
    this.#core = core;
    this.#clockAt = core.clock.now();
    this.#livedAt = core.lived.now();
  }

  /** @returns how much of it there was since the last look, in ms; 0: none that matters */
  look(): number {
    const [now, livedNow] = [this.#core.clock.now(), this.#core.lived.now()];
    const ms = now - this.#clockAt - (livedNow - this.#livedAt);
    [this.#clockAt, this.#livedAt] = [now, livedNow];
    return ms > UNSEEN_MS ? ms : 0;
  }
}
