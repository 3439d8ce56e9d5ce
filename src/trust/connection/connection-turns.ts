/** What waits for a turn, longest first. */
interface Waiting {
  readonly go: () => void;
  readonly giveUp: (err: unknown) => void;
  readonly since: number;
}

/** How often longer than opening a connection a request waits for one that is open, and at least, in ms. */
const PATIENCE = 3;
const LEAST_MS = 20;

/**
 * Turns on at most so many connections. Requests wait here, and not in Node's agent: what waits there hears neither of its
 * own end nor of a server that is gone (it only looks for the next one when a connection closes, and of several one does).
 *
 * Who is thrifty begins with one: a handshake costs both ends more than a short request does, so another connection is
 * opened only where a request has waited for its turn for several times as long as opening the first one took:
 *
 *   patience = max(3 * opening, 20 ms)
 *
 * Short requests take turns then; long ones get connections of their own one after the other, up to `most`.
 */
export class ConnectionTurns {
  readonly #most: number;
  readonly #now: () => number;
  #width: number;
  #busy = 0;
  /** Unknown before the first one is open: until then all wait for that. */
  #openingMs: number | undefined;
  /** When the last connection was allowed. */
  #widened = -Infinity;
  readonly #waiting: Waiting[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(most: number, isThrifty: boolean, now: () => number = () => performance.now()) {
    this.#most = most;
    this.#width = isThrifty ? 1 : most;
    this.#now = now;
  }

  /** A connection was opened, and it took so long. */
  opened(ms: number): void {
    this.#openingMs = ms;
    this.#watch();
  }

  /** No connection could be opened: where none ever was, those who wait learn it at once and try no further ones. */
  failed(err: unknown): void {
    if (this.#openingMs !== undefined) return;
    for (const { giveUp } of this.#waiting.splice(0)) giveUp(err);
  }

  /** What ends a turn that is free now, to be called once the connection is free for others; undefined: none is. */
  takeFree(): (() => void) | undefined {
    if (this.#busy >= this.#width) return undefined;
    this.#busy += 1;
    return this.#ending();
  }

  /** The same of the turn that comes. @throws what `failed` was told, and why `signal` aborted */
  async take(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    const free = this.takeFree();
    if (free !== undefined) return free;
    const { promise, resolve: go, reject: giveUp } = Promise.withResolvers<void>();
    const waiting: Waiting = { go, giveUp, since: this.#now() };
    const onAbort = (): void => this.#leave(waiting, signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    this.#waiting.push(waiting);
    this.#watch();
    try {
      await promise;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
    return this.#ending();
  }

  // Private

  #ending(): () => void {
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      this.#busy -= 1;
      this.#next();
    };
  }

  #leave(waiting: Waiting, why: unknown): void {
    const at = this.#waiting.indexOf(waiting);
    if (at === -1) return; // its turn has come
    this.#waiting.splice(at, 1);
    this.#watch();
    waiting.giveUp(why);
  }

  #next(): void {
    while (this.#busy < this.#width) {
      const first = this.#waiting.shift();
      if (first === undefined) break;
      this.#busy += 1;
      first.go();
    }
    this.#watch();
  }

  /** Widens when the one that waits longest has waited too long. */
  #watch(): void {
    const [first] = this.#waiting;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (first === undefined || this.#openingMs === undefined || this.#width >= this.#most) return;
    const patience = Math.max(PATIENCE * this.#openingMs, LEAST_MS);
    this.#timer = setTimeout(
      () => {
        this.#width += 1;
        this.#widened = this.#now();
        this.#next();
      },
      Math.max(0, Math.max(first.since, this.#widened) + patience - this.#now()),
    );
  }
}
