/** The chain of charters in the store, and the current one. The hub verifies it like everybody else. */
import { faultPoint } from "../../lib/process/fault.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import type { Digest } from "../../lib/text/ids.ts";
import type { Chain } from "../../trust/charter/chain.ts";
import { nextCharter, openChain, openCharter } from "../../trust/charter/charter.ts";
import type { Charter } from "../../trust/document/documents.ts";
import { digestOfEnvelope, readUnverified, type Envelope } from "../../trust/document/envelope.ts";
import { commit, put, unchanged, type Core } from "../records/core.ts";
import { keys } from "../records/keys.ts";

export class Charters {
  readonly #core: Core;
  readonly #expected: Digest | undefined;
  #pin: Digest | undefined;
  #current: { readonly charter: Charter; readonly count: number } | undefined;
  /** Asked for with every request: listed once until one comes. */
  #chain: readonly Envelope[] | undefined;
  /** Asked for with each node: opened once, until the next charter comes. */
  #opened: Chain | undefined;

  /** @param expected digest that the first charter must have; undefined: any */
  constructor(core: Core, expected?: Digest) {
    this.#core = core;
    this.#expected = expected;
    core.mirror.onChange((changed) => {
      if (changed.some((key) => key.startsWith(keys.charters))) this.#chain = undefined;
    });
  }

  /**
   * Takes the charter that the hub was started with, or was sent, if the store has none yet.
   * @param claim what else is to be the cluster's, before it is written down
   * @throws SkeinError CHARTER_PIN, DOC_*; what `claim` throws
   */
  async begin(first: readonly Envelope[], claim?: (charter: Charter) => Promise<void>): Promise<void> {
    const stored = this.after(0);
    const [given] = first;
    const [held] = stored;
    if (given !== undefined && held !== undefined && digestOfEnvelope(given) !== digestOfEnvelope(held)) {
      throw new SkeinError("CHARTER_PIN", "the store holds the charter of another cluster", {
        data: { found: digestOfEnvelope(held), pinned: digestOfEnvelope(given) },
      });
    }
    if (held === undefined && given !== undefined) {
      const { body } = openCharter(given, this.#expected ?? digestOfEnvelope(given));
      await claim?.(body);
      await commit(this.#core, [unchanged(keys.charter(1), 0)], [put(keys.charter(1), given)]);
    }
    for (const charter of first.slice(Math.max(1, stored.length))) await this.post(charter);
  }

  /** Digest of the first charter. */
  get pin(): Digest | undefined {
    const [first] = this.after(0);
    if (first !== undefined) this.#pin ??= digestOfEnvelope(first);
    return this.#pin;
  }

  /** The current charter; undefined while the hub has none. */
  get current(): Charter | undefined {
    const chain = this.after(0);
    if (chain.length !== this.#current?.count && this.pin !== undefined) {
      const { body } = openChain(chain, this.pin, this.#core.clock.now());
      this.#current = { charter: body, count: chain.length };
    }
    return this.#current?.charter;
  }

  /** @throws SkeinError NOT_FOUND */
  need(): { readonly charter: Charter; readonly pin: Digest } {
    const { current, pin } = this;
    if (current !== undefined && pin !== undefined) return { charter: current, pin };
    throw new SkeinError("NOT_FOUND", "the hub has no charter yet", {
      hint: "Start it with the charter: skein hub.",
    });
  }

  /** The charter in force and those before it. @throws SkeinError NOT_FOUND */
  chain(): Chain {
    const { charter } = this.need();
    if (this.#opened?.[0] === charter) return this.#opened;
    const earlier = this.after(0).slice(0, -1).toReversed();
    // Checked when they came.
    return (this.#opened = [charter, ...earlier.map((one) => readUnverified(one, "charter.1"))]);
  }

  after(version: number): Envelope[] {
    this.#chain ??= this.#core.mirror.list(keys.charters).map(({ value }) => value);
    return this.#chain.slice(version);
  }

  /** Stores the next version; the very same bytes again are no error. @throws SkeinError CHARTER_ROLLBACK, DOC_* … */
  async post(envelope: Envelope): Promise<void> {
    await this.#core.lanes.run("charters", async () => {
      const { charter } = this.need();
      const stored = this.#core.mirror.get(keys.charter(charter.version));
      if (stored !== undefined && digestOfEnvelope(stored) === digestOfEnvelope(envelope)) return;
      const { body } = nextCharter(charter, envelope, this.#core.clock.now());
      const key = keys.charter(body.version);
      faultPoint("hub.charter");
      await commit(this.#core, [unchanged(key, 0)], [put(key, envelope)]);
    });
  }
}
