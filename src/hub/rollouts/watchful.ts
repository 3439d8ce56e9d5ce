import type { Core } from "../records/core.ts";
import { Unseen } from "../records/unseen.ts";

/** Since when somebody looks without a break, by the hub's clock. */
export class Watchful {
  readonly #core: Pick<Core, "clock" | "lived">;
  readonly #unseen: Unseen;
  #since: number;

  constructor(core: Pick<Core, "clock" | "lived">) {
    this.#core = core;
    this.#unseen = new Unseen(core);
    this.#since = core.clock.now();
  }

  get since(): number {
    return this.#since;
  }

  /** Where nobody looked for a while, the wait for nodes to call begins anew; where the clock was set back, too. */
  look(): void {
    const now = this.#core.clock.now();
    this.#since = this.#unseen.look() > 0 ? now : Math.min(this.#since, now);
  }
}
