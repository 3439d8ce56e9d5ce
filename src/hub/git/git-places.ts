import { setTimeout as sleep } from "node:timers/promises";
import { SkeinError } from "../../lib/errors/errors.ts";

/** Gits at once. */
const MOST = 32;
/** Of these, one operator's: whoever holds them for long, by a cut line or with a script, holds up no other. */
const MOST_OF_ONE = 24;
/** A push takes a fraction of a second: so long a place comes free for the last of hundreds. */
const WAIT_MS = 20_000;
const MOST_WAITING = 512;
/** So long a conversation may stand still before it gives way: a client may be at work on what it sends. Shorter than who waits does. */
const STILL_MS = 15_000;
/** A conversation that moves less than this stands still. */
const SLOWEST_BYTES_PER_SEC = 4096;
/** git may be at work on what has come: it takes apart at least so much. */
const WORKED_BYTES_PER_MS = 1000;
/** How often it is looked whether conversations move, and whether one has to give way. */
const LOOK_MS = 2000;

interface Waiting {
  readonly owner: string;
  readonly come: () => void;
}

/** What a place is held for. */
export interface Conversation {
  /** Bytes that have come so far, and that have gone. */
  readonly received: () => number;
  readonly sent: () => number;
  readonly cut: () => void;
}

interface Holder {
  readonly owner: string;
  readonly talk: Conversation;
  /** When it was last seen to move, in ms, when it was last looked at, and how far it had got then. */
  movedAt: number;
  lookedAt: number;
  movedBytes: number;
  isCut: boolean;
}

export interface PlaceLimits {
  readonly most?: number;
  readonly mostOfOne?: number;
  readonly waitMs?: number;
  readonly mostWaiting?: number;
  readonly stillMs?: number;
  readonly lookMs?: number;
}

/**
 * Who may have a git run at present. Others wait their turn, first come, first served. While somebody waits, whoever
 * stands still is cut off, the longest first: a client that was cut off its line, or drips, would hold its place for ever.
 */
export class Places {
  readonly #limits: Required<PlaceLimits>;
  /** Places with each owner, also those that were given and not come for yet. */
  readonly #taken = new Map<string, number>();
  readonly #holders = new Set<Holder>();
  readonly #waiting = new Set<Waiting>();

  constructor({
    most = MOST,
    mostOfOne = MOST_OF_ONE,
    waitMs = WAIT_MS,
    mostWaiting = MOST_WAITING,
    stillMs = STILL_MS,
    lookMs = LOOK_MS,
  }: PlaceLimits = {}) {
    this.#limits = { most, mostOfOne, waitMs, mostWaiting, stillMs, lookMs };
  }

  /**
   * Waits for a place; whoever gets it gives it back by disposing of it.
   * @param signal ends the waiting
   * @throws SkeinError TOO_MANY when none came free in time
   */
  async take(owner: string, talk: Conversation, signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted();
    if (!this.#isFree(owner)) await this.#turn(owner, signal);
    else this.#count(owner, 1);
    const movedBytes = talk.received() + talk.sent();
    const now = performance.now();
    const holder: Holder = { owner, talk, movedAt: now, lookedAt: now, movedBytes, isCut: false };
    this.#holders.add(holder);
    const looking = setInterval(() => look(holder, this.#limits.lookMs / 2), this.#limits.lookMs).unref();
    return {
      [Symbol.dispose]: () => {
        clearInterval(looking);
        if (!this.#holders.delete(holder)) return;
        this.#count(owner, -1);
        this.#callNext();
      },
    };
  }

  async #turn(owner: string, signal: AbortSignal): Promise<void> {
    if (this.#waiting.size >= this.#limits.mostWaiting) throw tooMany();
    const turn = Promise.withResolvers<true>();
    const waiting: Waiting = { owner, come: () => turn.resolve(true) };
    this.#waiting.add(waiting);
    const over = new AbortController();
    this.#makeRoom(owner);
    const looking = setInterval(() => this.#makeRoom(owner), this.#limits.lookMs);
    try {
      const patience = sleep(this.#limits.waitMs, false, {
        signal: AbortSignal.any([signal, over.signal]),
      });
      if (!(await Promise.race([turn.promise, patience]))) throw tooMany();
    } catch (err) {
      // It was given one in the very moment in which it gave up.
      if (!this.#waiting.has(waiting)) {
        this.#count(owner, -1);
        this.#callNext();
      }
      throw err;
    } finally {
      this.#waiting.delete(waiting);
      clearInterval(looking);
      over.abort();
    }
  }

  /** Cuts one that stands still, and whose place `owner` could have. */
  #makeRoom(owner: string): void {
    const isFull = (this.#taken.get(owner) ?? 0) >= this.#limits.mostOfOne;
    const now = performance.now();
    const late = [...this.#holders]
      .filter((holder) => !holder.isCut && (!isFull || holder.owner === owner))
      .map((holder) => ({ holder, byMs: this.#lateMs(holder, now) }))
      .toSorted((a, b) => b.byMs - a.byMs)[0];
    if (late === undefined || late.byMs < 0) return;
    late.holder.isCut = true;
    late.holder.talk.cut();
  }

  #lateMs(holder: Holder, now: number): number {
    look(holder, this.#limits.lookMs / 2);
    const { movedAt, talk } = holder;
    return now - movedAt - this.#limits.stillMs - talk.received() / WORKED_BYTES_PER_MS;
  }

  #callNext(): void {
    for (const waiting of this.#waiting) {
      if (!this.#isFree(waiting.owner)) continue;
      this.#waiting.delete(waiting);
      this.#count(waiting.owner, 1);
      waiting.come();
    }
  }

  #isFree(owner: string): boolean {
    const all = [...this.#taken.values()].reduce((sum, count) => sum + count, 0);
    return all < this.#limits.most && (this.#taken.get(owner) ?? 0) < this.#limits.mostOfOne;
  }

  #count(owner: string, change: number): void {
    const count = (this.#taken.get(owner) ?? 0) + change;
    if (count === 0) this.#taken.delete(owner);
    else this.#taken.set(owner, count);
  }
}

/** Not more often than in `leastMs`: within a moment every drip is a flood. */
function look(holder: Holder, leastMs: number): void {
  const bytes = holder.talk.received() + holder.talk.sent();
  const now = performance.now();
  if (now - holder.lookedAt < leastMs) return;
  const slowest = (SLOWEST_BYTES_PER_SEC * (now - holder.lookedAt)) / 1000;
  if (bytes - holder.movedBytes >= slowest) holder.movedAt = now;
  holder.lookedAt = now;
  holder.movedBytes = bytes;
}

const tooMany = (): SkeinError => new SkeinError("TOO_MANY", "too many git connections");
