/** Connections of which a request came by somebody who is known. */
import type { Duplex } from "node:stream";

/** So long after the word, what was asked before is still answered, in ms. */
const GRACE_MS = 1000;

/**
 * Nobody keeps the places of all others, and nobody keeps a stream longer than what vouches for its key: a request is
 * looked at when it comes, and a stream goes on from then. Of too many connections of one key the oldest goes.
 */
export class KnownCallers<Key extends string> {
  readonly #isKnown: (key: Key) => boolean;
  readonly #perKey: number;
  /** Oldest first. */
  readonly #open = new Map<Key, Set<Duplex>>();

  /** @param isKnown whether whoever has the key is known now */
  constructor(perKey: number, isKnown: (key: Key) => boolean = () => true) {
    this.#isKnown = isKnown;
    this.#perKey = perKey;
  }

  came(key: Key, socket: Duplex): void {
    const own = this.#open.get(key) ?? new Set();
    if (own.has(socket) || socket.destroyed) return;
    this.#open.set(key, own.add(socket));
    socket.once("close", () => {
      own.delete(socket);
      if (own.size === 0 && this.#open.get(key) === own) this.#open.delete(key);
    });
    const [oldest] = own;
    if (own.size > this.#perKey) oldest?.destroy();
  }

  /** Some key may have been revoked or dropped: ends the connections of those that were. */
  changed(): void {
    setTimeout(() => this.#look(), GRACE_MS).unref();
  }

  #look(): void {
    for (const [key, sockets] of this.#open) {
      if (this.#isKnown(key)) continue;
      for (const socket of sockets) socket.destroy();
    }
  }
}
