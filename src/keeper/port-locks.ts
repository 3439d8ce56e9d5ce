import net from "node:net";
import { SkeinError } from "../lib/errors/errors.ts";
import { bindPath } from "./bind-path.ts";

const FIRST = 20_000;
const COUNT = 10_000;
const TRIES = 200;

/**
 * Ports of mode `port`. The lock of a port is an abstract unix socket: all keepers of a machine see it, and it ends
 * with the keeper that holds it, however that ends.
 */
export class PortLocks {
  readonly #locks = new Map<string, { readonly port: number; readonly lock: net.BoundSocket }>();

  /** A port that nobody listens on now and no other keeper will give away. Idempotent for one key. */
  take(key: string, host: string, avoid: readonly number[]): number {
    const mine = this.#locks.get(key);
    if (mine !== undefined && !avoid.includes(mine.port)) return mine.port;
    this.release(key);
    const start = Math.floor(Math.random() * COUNT);
    for (let n = 0; n < TRIES; n++) {
      const port = FIRST + ((start + n) % COUNT);
      if (!avoid.includes(port) && this.#tryLock(key, port, host)) return port;
    }
    throw new SkeinError("PORT_TAKEN", `no free port between ${FIRST} and ${FIRST + COUNT - 1}`);
  }

  /** Takes the lock of a port that an adopted instance uses already; another holder is ignored. */
  retake(key: string, port: number): void {
    const lock = boundOr(() => bindPath(lockName(port)));
    if (lock !== undefined) this.#locks.set(key, { port, lock });
  }

  release(key: string): void {
    this.#locks.get(key)?.lock.close();
    this.#locks.delete(key);
  }

  entries(): [string, number][] {
    return [...this.#locks].map(([key, { port }]) => [key, port]);
  }

  #tryLock(key: string, port: number, host: string): boolean {
    const lock = boundOr(() => bindPath(lockName(port)));
    if (lock === undefined) return false;
    const trial = boundOr(() => new net.BoundSocket({ host, port }));
    if (trial === undefined) {
      lock.close();
      return false;
    }
    trial.close();
    this.#locks.set(key, { port, lock });
    return true;
  }
}

const lockName = (port: number): string => `\0skein-port-${port}`;

function boundOr(bind: () => net.BoundSocket): net.BoundSocket | undefined {
  try {
    return bind();
  } catch {
    return undefined;
  }
}
