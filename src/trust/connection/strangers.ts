/** Connections of which nothing has come yet from anybody who is known. */
import type { Duplex } from "node:stream";
import { networkOf } from "./network-of.ts";

export interface StrangerLimits {
  /** How long a connection may remain one of a stranger, in ms. */
  readonly graceMs: number;
  readonly perAddress: number;
  readonly inAll: number;
}

/**
 * Everybody is a stranger until it shows who calls. Strangers are bounded in time and number, so that those who open
 * connections and say nothing, or say it a byte at a time, keep no place from those who belong here. When there are too
 * many, the one that has waited longest goes.
 */
export class Strangers {
  readonly #limits: StrangerLimits;
  /** Oldest first. */
  readonly #open = new Map<Duplex, { readonly address: string; readonly timer: NodeJS.Timeout }>();
  readonly #byAddress = new Map<string, Set<Duplex>>();

  constructor(limits: StrangerLimits) {
    this.#limits = limits;
  }

  came(socket: Duplex, from: string): void {
    const { graceMs, perAddress, inAll } = this.#limits;
    const address = networkOf(from);
    const timer = setTimeout(() => socket.destroy(), graceMs);
    this.#open.set(socket, { address, timer });
    const neighbours = this.#byAddress.get(address) ?? new Set();
    this.#byAddress.set(address, neighbours.add(socket));
    socket.once("close", () => this.known(socket));
    if (neighbours.size > perAddress) this.#drop(neighbours);
    else if (this.#open.size > inAll) this.#drop(this.#open.keys());
  }

  /** This one is a stranger no more. */
  known(socket: Duplex): void {
    const found = this.#open.get(socket);
    if (found === undefined) return;
    clearTimeout(found.timer);
    this.#open.delete(socket);
    const neighbours = this.#byAddress.get(found.address);
    neighbours?.delete(socket);
    if (neighbours?.size === 0) this.#byAddress.delete(found.address);
  }

  #drop(sockets: Iterable<Duplex>): void {
    for (const oldest of sockets) {
      this.known(oldest);
      oldest.destroy();
      return;
    }
  }
}
