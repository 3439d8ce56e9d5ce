import type { Clock } from "../lib/time/clock.ts";
import { leaseNotFound } from "./rules.ts";

/** A lease ends at most so long after its time. */
const SWEEP_MS = 250;

interface Lease {
  readonly ttlMs: number;
  endsAt: number;
}

/** When which lease ends. Only in memory: opening a store gives every lease its full time. */
export class Leases {
  readonly #clock: Clock;
  readonly #leases = new Map<number, Lease>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(id: number, ttlMs: number): void {
    this.#leases.set(id, { ttlMs, endsAt: this.#clock.now() + ttlMs });
  }

  /** False from the moment its time is over, swept or not. */
  lives(id: number): boolean {
    const lease = this.#leases.get(id);
    return lease !== undefined && this.#clock.now() < lease.endsAt;
  }

  /** @throws SkeinError LEASE_NOT_FOUND */
  renew(id: number): void {
    const lease = this.#leases.get(id);
    if (lease === undefined || !this.lives(id)) throw leaseNotFound(id);
    lease.endsAt = this.#clock.now() + lease.ttlMs;
  }

  drop(id: number): void {
    this.#leases.delete(id);
  }

  /**
   * Until `signal` aborts, hands each lease whose time is over to `end`, which drops it. That keeps no process alive:
   * one that does nothing else is done.
   */
  async sweep(end: (id: number) => Promise<void>, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const over = [...this.#leases.keys()].filter((id) => !this.lives(id));
      await Promise.all(over.map(end));
      await this.#clock.sleep(SWEEP_MS, signal, { ref: false }).catch(() => undefined);
    }
  }
}
