/**
 * What a node thinks of its peers, from what they did: who gives at what rate, and who is put aside for a while. Time
 * and chance come in as arguments; nothing here waits.
 */
import { retryDelayMs } from "../../lib/time/retry.ts";
import { keepNewest } from "../../lib/memory/keep-newest.ts";

/**
 * `gone`: not reached, or cut off. `slow`: it took far longer to send than others do. `late`: it had not begun to send
 * when patience ran out; it may be waiting for another itself, so that weighs little until it happens again and again.
 * `busy`: it said so. `lied`: other bytes.
 */
export type Fault = "gone" | "slow" | "late" | "busy" | "lied";

/** For how long the n-th fault in a row puts a peer aside: base * n², at most max, times 0.5 to 1.5. */
const ASIDE = {
  gone: { baseMs: 5000, maxMs: 60_000 },
  slow: { baseMs: 30_000, maxMs: 300_000 },
  late: { baseMs: 4000, maxMs: 120_000 },
  busy: { baseMs: 250, maxMs: 2000 },
  lied: { baseMs: 600_000, maxMs: 3_600_000 },
} as const satisfies Record<Fault, object>;

/** A peer is slow that gives at less than this share of what peers give in the median. */
const SLOW_SHARE = 0.2;
/** Nobody is called slow for what took less, in ms. */
const QUICK_MS = 500;
/** Nobody is called slow before he gave so many pieces: the first comes with the handshake. */
const TRIED = 3;
/** The median counts from so many peers on. */
const ENOUGH = 2;
/** Weight of the newest measurement in a peer's rate. */
const NEWEST = 0.3;
/** A piece is waited for so many times as long as pieces take in the median. */
const PATIENCE = 6;
const LEAST_PATIENCE_MS = 3000;
/** Also how long a piece is waited for that nobody else could give sooner. */
export const MOST_PATIENCE_MS = 45_000;
/** While nothing is known of how long pieces take: a hub with a thin line may be slow for all. */
const FIRST_PATIENCE_MS = 20_000;
/** So many peers that were never reached, and none that was: there is a wall between them and this node. */
const WALL = 4;
const WALL_MS = 120_000;
const KEPT = 2048;

interface Peer {
  /** Bytes a ms, from question to last byte; undefined: it gave nothing yet. */
  rate: number | undefined;
  /** Pieces that it gave. */
  given: number;
  faults: number;
  /** When the last of them was found. */
  faultAt: number;
  asideUntil: number;
  lied: boolean;
}

export class Standing {
  readonly #now: () => number;
  readonly #random: () => number;
  readonly #peers = new Map<string, Peer>();
  #wallUntil = 0;
  /** Bytes a ms that the origin gives; undefined: it gave nothing yet. */
  #originRate: number | undefined;

  constructor(now: () => number, random: () => number = Math.random) {
    this.#now = now;
    this.#random = random;
  }

  /** Those who are not asked now. */
  out(): Set<string> {
    const now = this.#now();
    const out = new Set<string>();
    for (const [node, { asideUntil }] of this.#peers) if (asideUntil > now) out.add(node);
    return out;
  }

  /** Those who gave other bytes, while they are aside for it. */
  liars(): Set<string> {
    return new Set([...this.out()].filter((node) => this.#peers.get(node)?.lied === true));
  }

  /** Whether asking any peer is of no use now. */
  get isWalledIn(): boolean {
    return this.#wallUntil > this.#now();
  }

  /** The origin gave so many bytes. Where it is slow, peers may have to wait for it. */
  originGave(bytes: number, ms: number): void {
    this.#originRate = blended(this.#originRate, bytes, ms);
  }

  /**
   * A peer gave so many bytes; `ms` counts from the question to the last byte.
   * @param waitedMs for how much of it the peer had to wait for the bytes itself: no fault of its own
   */
  gave(node: string, bytes: number, ms: number, waitedMs = 0): void {
    const peer = this.#peer(node);
    const ownMs = ms - Math.min(ms, Math.max(0, waitedMs));
    peer.rate = blended(peer.rate, bytes, ownMs);
    peer.given += 1;
    peer.lied = false;
    if (ownMs > QUICK_MS && this.#isSlow(peer)) this.failed(node, "slow", ms);
    else peer.faults = 0;
  }

  /** @param ms since it was asked: several questions that one fault leaves without an answer are one fault */
  failed(node: string, fault: Fault, ms = 0): void {
    const peer = this.#peer(node);
    const now = this.#now();
    if (fault !== "lied" && now - ms <= peer.faultAt) return;
    peer.faults += 1;
    peer.faultAt = now;
    peer.lied ||= fault === "lied";
    const delayMs = retryDelayMs(peer.faults, { ...ASIDE[fault], random: this.#random });
    peer.asideUntil = Math.max(peer.asideUntil, now + delayMs);
    if (fault === "gone") this.#lookForWall();
  }

  /**
   * How long a piece of so many bytes is waited for, all in all, in ms. To be asked again while waiting: what others
   * gave meanwhile tells.
   *
   *   patience = depth * 6 * bytes / rate     at least depth * 3 s, at most 45 s; 20 s while no rate is known
   *   rate     = the origin's; that of peers in the median while the origin gave nothing yet
   *
   * By the origin's, because peers that wait for a slow one look slow themselves. By the depth, because who is asked
   * may itself have to find out that somebody before it stands still, and go on without: who stood behind it with the
   * same patience would run out of it at the same time, and all of them would turn to the origin.
   * @param depth how many nodes the piece passes on its way
   */
  patienceMs(bytes: number, depth = 1): number {
    const rate = this.#originRate ?? this.#medianRate();
    if (rate === undefined) return FIRST_PATIENCE_MS;
    const eachMs = Math.max(LEAST_PATIENCE_MS, (PATIENCE * bytes) / rate);
    return Math.min(MOST_PATIENCE_MS, Math.max(1, depth) * eachMs);
  }

  #isSlow({ rate = Infinity, given }: Peer): boolean {
    const median = this.#medianRate();
    return given >= TRIED && median !== undefined && rate < median * SLOW_SHARE;
  }

  #medianRate(): number | undefined {
    const rates = [...this.#peers.values()].flatMap(({ rate }) => rate ?? []).sort((a, b) => a - b);
    return rates.length < ENOUGH ? undefined : rates[Math.floor(rates.length / 2)];
  }

  #lookForWall(): void {
    const peers = [...this.#peers.values()];
    if (peers.length < WALL || peers.some(({ rate }) => rate !== undefined)) return;
    this.#wallUntil = this.#now() + WALL_MS;
  }

  #peer(node: string): Peer {
    const known = this.#peers.get(node) ?? { ...UNKNOWN };
    // Who was heard of last is the last to be forgotten.
    keepNewest(this.#peers, KEPT, node, known);
    return known;
  }
}

const UNKNOWN: Peer = {
  rate: undefined,
  given: 0,
  faults: 0,
  faultAt: -Infinity,
  asideUntil: 0,
  lied: false,
};

function blended(before: number | undefined, bytes: number, ms: number): number {
  const rate = bytes / Math.max(ms, 1);
  return before === undefined ? rate : before * (1 - NEWEST) + rate * NEWEST;
}
