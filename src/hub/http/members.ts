/** Connections of which a request came by somebody whom the hub knows. */
import type { Duplex } from "node:stream";
import type { KeyId } from "../../lib/text/ids.ts";

/** A command holds at most 16 connections, an agent 64 more: one for each command that it answers. */
const PER_KEY = 1024;
/** So long after the word, what was asked before is still answered, in ms. */
const GRACE_MS = 1000;

/**
 * Nobody keeps the places of all others, and nobody keeps a stream longer than what vouches for its key: a request is
 * looked at when it comes, and a stream goes on from then. Of too many connections of one key the oldest goes.
 */
export class Members {
  readonly #isKnown: (key: KeyId) => boolean;
  readonly #perKey: number;
  /** Oldest first. */
  readonly #open = new Map<KeyId, Set<Duplex>>();

  /** @param isKnown whether the key is one of the cluster now */
  constructor(isKnown: (key: KeyId) => boolean, perKey = PER_KEY) {
    this.#isKnown = isKnown;
    this.#perKey = perKey;
  }

  came(key: KeyId, socket: Duplex): void {
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
