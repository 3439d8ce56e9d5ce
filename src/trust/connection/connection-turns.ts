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
 * Turns on few connections. A handshake costs both ends more than a short request does, so another connection is opened
 * only where a request has waited for its turn for several times as long as opening the first one took:
 *
 *   patience = max(3 * opening, 20 ms)
 *
 * Short requests take turns; long ones get connections of their own one after the other, up to `most`.
 */
export class ConnectionTurns {
  readonly #most: number;
  readonly #now: () => number;
  #width = 1;
  #busy = 0;
  /** Unknown before the first one is open: until then all wait for that. */
  #openingMs: number | undefined;
  /** When the last connection was allowed. */
  #widened = -Infinity;
  readonly #waiting: Waiting[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(most: number, now: () => number = () => performance.now()) {
    this.#most = most;
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

  /**
   * Resolves to what ends the turn; to be called once the connection is free for others. Nobody waits for long.
   * @throws what `failed` was told
   */
  async take(): Promise<() => void> {
    if (this.#busy >= this.#width && this.#width < this.#most) {
      await new Promise<void>((go, giveUp) => {
        this.#waiting.push({ go, giveUp, since: this.#now() });
        this.#watch();
      });
    } else {
      this.#busy += 1;
    }
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      this.#busy -= 1;
      this.#next();
    };
  }

  // Private

  #next(): void {
    while (this.#busy < this.#width || this.#width >= this.#most) {
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
