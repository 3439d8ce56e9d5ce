import type { Clock } from "../../lib/time/clock.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { keepNewest } from "../../lib/memory/keep-newest.ts";
import { networkOf } from "./network-of.ts";

/** Requests that an address may make at once before it is held to the rate. */
const BURST = 100;
const ADDRESSES_KEPT = 4096;

interface Bucket {
  tokens: number;
  at: number;
}

/**
 * Holds callers whom nobody vouches for to a rate: each costs the hub a handshake and a look-up.
 *
 *   tokens = min(BURST, tokens + elapsed * perSec)      per address, an IPv6 one as its /64; one token a request
 *
 * A higher rate lets more nodes of one address join at once, and strangers cost more.
 */
export class AnonymousRate {
  readonly #clock: Clock;
  readonly #perSec: number;
  readonly #buckets = new Map<string, Bucket>();

  constructor(clock: Clock, perSec = 20) {
    this.#clock = clock;
    this.#perSec = perSec;
  }

  /** @throws SkeinError TOO_MANY */
  take(address: string): void {
    const now = this.#clock.now();
    const network = networkOf(address);
    const bucket = this.#buckets.get(network) ?? { tokens: BURST, at: now };
    // Where the clock was set back nobody knows how long it is since the last.
    const elapsedMs = Math.max(0, now - bucket.at);
    const tokens = Math.min(BURST, bucket.tokens + (elapsedMs / 1000) * this.#perSec);
    if (tokens < 1) throw new SkeinError("TOO_MANY", `too many requests from ${network}`);
    keepNewest(this.#buckets, ADDRESSES_KEPT, network, { tokens: tokens - 1, at: now });
  }
}
