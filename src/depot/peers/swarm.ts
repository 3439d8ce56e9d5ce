/**
 * Pieces from peers, and from the origin where it is this node's turn, or nobody else has them. What comes is kept in
 * the cache, for this node and for those that ask it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { keepNewest } from "../../lib/memory/keep-newest.ts";
import { ownTimeMs } from "../../lib/time/own-time.ts";
import type { BlobCache } from "../cache/blob-cache.ts";
import type { Looked, Piece, PieceRange, PieceSource } from "../cache/cached.ts";
import type { DepotKind, DepotReader } from "../seam/depot.ts";
import { PIECE_BYTES } from "../cache/piece-file.ts";
import { isDirect, stripeOf, type Forest } from "./picking.ts";
import { mayBe, type ProvenBlob } from "./proof.ts";
import { MOST_PATIENCE_MS, type Fault, type Standing } from "./standing.ts";

/** What a peer answered. */
export interface PeerAnswer {
  readonly bytes: Uint8Array;
  /** The blob ends after them. */
  readonly ends: boolean;
}

/** The same, as it came. */
export interface PeerGift extends PeerAnswer {
  /** How long the peer had to wait for it, as it says, in ms. */
  readonly waitedMs: number;
}

/** The peers that a node knows of, and how they are asked. */
export interface PeerNet {
  readonly self: string;
  /** The nodes to ask now, this one among them; looked up anew when they are too old. Never throws. */
  forest(signal: AbortSignal): Promise<Forest>;
  /** What the hub says of a blob's pieces, or the whole of a small one; undefined: nobody says anything. Never throws. */
  proof(name: string, signal: AbortSignal): Promise<ProvenBlob | undefined>;
  /**
   * Asks one peer.
   * @throws SkeinError BLOB_MISSING, TOO_MANY (it has too much to do), TIMEOUT (with `sending` in its data: whether it
   *   had begun to), and anything else where it is gone
   */
  ask(node: string, want: PieceRange, options: AskOptions): Promise<PeerGift>;
}

export interface AskOptions {
  /** Only for what it has on its disk. */
  readonly held: boolean;
  /** How long to wait for the whole of it, in ms; asked again while waiting. */
  readonly patienceMs: () => number;
  /** Waited for, patiently, before the answer's bytes are taken, and given back when they are. Default: at once. */
  readonly turn?: (signal: AbortSignal) => Promise<Disposable>;
  readonly signal: AbortSignal;
}

export interface SwarmOptions {
  readonly net: PeerNet;
  /** One that does not fail (`forgiving`). */
  readonly near: BlobCache;
  readonly origin: DepotReader;
  readonly standing: Standing;
}

/** The list of so many peers alone is longer than what is better had from the origin even then. */
const MANY_PEERS = 128;
/** Peers that are asked for one piece before the origin is. */
const TRIES = 3;
/** Peers that are asked what they hold when the origin does not answer. */
const HOLDERS = 16;
const PROVENANCES = 4096;
const BUSY_MS = 100;

interface Coming {
  readonly want: PieceRange;
  readonly piece: Promise<Piece>;
  waiting: number;
  /** Somebody on this node waits for it, who counts where it comes from. */
  isOwn: boolean;
  readonly stop: AbortController;
}

export class Swarm implements PieceSource {
  readonly #options: SwarmOptions;
  /** Pieces on their way: who wants one of them too waits for it. */
  readonly #coming = new Set<Coming>();
  /** `<blob> <piece>` → the peer that it came from. The oldest is forgotten first. */
  readonly #from = new Map<string, string>();
  /** `<blob> <piece>` → where a piece came from that a peer alone had asked for. The oldest is forgotten first. */
  readonly #forOthers = new Map<string, DepotKind>();

  constructor(options: SwarmOptions) {
    this.#options = options;
  }

  async worthAsking(bytes: number, signal: AbortSignal): Promise<boolean> {
    const { net, standing } = this.#options;
    // A blob of unknown length is nearly always a small one.
    if (bytes === Infinity || standing.isWalledIn) return false;
    if (isDirect(bytes, MANY_PEERS)) return false;
    return !isDirect(bytes, (await net.forest(signal)).others(net.self));
  }

  async look(name: string, signal: AbortSignal): Promise<Looked | undefined> {
    const { net } = this.#options;
    const proof = await net.proof(name, signal);
    signal.throwIfAborted();
    if (proof === undefined || proof.bytes !== undefined) return proof;
    return (await net.forest(signal)).others(net.self) === 0 ? undefined : { size: proof.size };
  }

  async piece(want: PieceRange, signal: AbortSignal): Promise<Piece> {
    return await this.#wait(want, true, signal);
  }

  cameFrom(name: string, at: number): DepotKind | undefined {
    const key = pieceKey(name, at);
    const kind = this.#forOthers.get(key);
    this.#forOthers.delete(key);
    return kind;
  }

  async #wait(want: PieceRange, isOwn: boolean, signal: AbortSignal): Promise<Piece> {
    signal.throwIfAborted();
    const known = [...this.#coming].find(
      ({ want: other, stop }) => covers(other, want) && !stop.signal.aborted,
    );
    const coming = known ?? this.#begin(want);
    coming.waiting += 1;
    if (isOwn) coming.isOwn = true;
    // It may be on its way into the cache: then it is marked, and counted now.
    if (isOwn && known !== undefined) this.#forOthers.delete(pieceKey(want.name, want.start));
    const gone = Promise.withResolvers<never>();
    const onAbort = (): void => gone.reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      return partOf(await Promise.race([coming.piece, gone.promise]), coming.want, want);
    } finally {
      signal.removeEventListener("abort", onAbort);
      coming.waiting -= 1;
      if (coming.waiting === 0)
        coming.stop.abort(new SkeinError("INTERRUPTED", "nobody waits for the piece"));
    }
  }

  /** For a peer that asks. @throws SkeinError BLOB_MISSING */
  async give(want: PieceRange, held: boolean, signal: AbortSignal): Promise<PeerAnswer> {
    const here = await this.#here(want);
    if (here !== undefined) return here;
    if (held) throw new SkeinError("BLOB_MISSING", `this node does not hold that piece of ${want.name}`);
    return await this.#wait(want, false, signal);
  }

  blame(name: string, start: number, end: number): void {
    for (const [key, node] of this.#from) {
      const [blob, piece] = key.split(" ");
      const at = Number(piece) * PIECE_BYTES;
      if (blob !== name || at >= end || at + PIECE_BYTES <= start) continue;
      this.#options.standing.failed(node, "lied");
      this.#from.delete(key);
    }
  }

  async #here({ name, start, end }: PieceRange): Promise<PeerAnswer | undefined> {
    const here = await this.#options.near.read(name, start, end);
    return here !== undefined && (here.ends || here.bytes.length === end - start) ? here : undefined;
  }

  #begin(want: PieceRange): Coming {
    const stop = new AbortController();
    const onCame = ({ kind }: Piece): void => {
      if (!coming.isOwn) keepNewest(this.#forOthers, PROVENANCES, pieceKey(want.name, want.start), kind);
    };
    const piece = this.#fetch(want, onCame, stop.signal);
    const coming: Coming = { want, piece, waiting: 0, isOwn: false, stop };
    this.#coming.add(coming);
    const over = (): boolean => this.#coming.delete(coming);
    piece.then(over, over);
    return coming;
  }

  /** @param onCame told of what came from elsewhere, before anybody can find it here */
  async #fetch(want: PieceRange, onCame: (piece: Piece) => void, signal: AbortSignal): Promise<Piece> {
    // It may have come for a peer since whoever wants it now found that it is not here.
    const here = await this.#here(want);
    if (here !== undefined) return { ...here, kind: this.cameFrom(want.name, want.start) ?? "cache" };
    const piece = (await this.#fromElders(want, signal)) ?? (await this.#fromOrigin(want, signal));
    onCame(piece);
    await this.#options.near.write(want.name, want.start, piece.bytes, piece.ends);
    return piece;
  }

  /** From a peer that stands before this node in the piece's stripe; undefined: it is the origin's turn. */
  async #fromElders(want: PieceRange, signal: AbortSignal): Promise<Piece | undefined> {
    const { net, standing } = this.#options;
    const forest = await net.forest(signal);
    const stripe = stripeOf(want.name, Math.floor(want.start / PIECE_BYTES));
    const tried = new Set<string>();
    while (tried.size < TRIES) {
      const out = standing.out().union(tried);
      const parent = forest.parent(stripe, net.self, out);
      if (parent === undefined) return undefined;
      tried.add(parent);
      const depth = forest.depth(stripe, net.self, out);
      const patienceMs = (): number => standing.patienceMs(want.end - want.start, depth);
      const piece = await this.#fromPeer(parent, want, { held: false, patienceMs }, signal);
      if (piece !== undefined) return piece;
    }
    return undefined;
  }

  async #fromOrigin(want: PieceRange, signal: AbortSignal): Promise<Piece> {
    const began = ownTimeMs();
    try {
      const piece = await readPiece(this.#options.origin, want, signal);
      this.#options.standing.originGave(piece.bytes.length, ownTimeMs() - began);
      return piece;
    } catch (err) {
      signal.throwIfAborted();
      if (isSkeinError(err, "BLOB_MISSING")) throw err;
      const piece = await this.#fromHolders(want, signal);
      if (piece === undefined) throw err;
      return piece;
    }
  }

  /** The origin does not answer: anybody who has it will do. */
  async #fromHolders(want: PieceRange, signal: AbortSignal): Promise<Piece | undefined> {
    const { net, standing } = this.#options;
    const forest = await net.forest(signal);
    const stripe = stripeOf(want.name, Math.floor(want.start / PIECE_BYTES));
    const out = standing.out();
    const all = forest.holders(stripe, net.self, standing.liars());
    // Better one that was slow than nobody.
    const ordered = [...all.filter((node) => !out.has(node)), ...all.filter((node) => out.has(node))];
    const patienceMs = (): number => MOST_PATIENCE_MS;
    for (const node of ordered.slice(0, HOLDERS)) {
      const piece = await this.#fromPeer(node, want, { held: true, patienceMs }, signal);
      if (piece !== undefined) return piece;
    }
    return undefined;
  }

  /** Undefined where the peer did not give it; it is thought the less of for that. */
  async #fromPeer(
    node: string,
    want: PieceRange,
    how: AskHow,
    signal: AbortSignal,
  ): Promise<Piece | undefined> {
    const { standing } = this.#options;
    const began = { own: ownTimeMs(), wall: performance.now() };
    try {
      const { bytes, ends, waitedMs } = await this.#ask(node, want, how, signal);
      const tookMs = ownTimeMs() - began.own;
      // First: what was given of other bytes makes nobody good.
      if (await this.#isDamaged(want, bytes, ends, signal)) {
        standing.failed(node, "lied");
        return undefined;
      }
      standing.gave(node, bytes.length, tookMs, waitedMs);
      this.#remember(want, node);
      return { bytes, ends, kind: "peer" };
    } catch (err) {
      signal.throwIfAborted();
      const tookMs = performance.now() - began.wall;
      if (!isSkeinError(err, "BLOB_MISSING")) standing.failed(node, faultIn(err), tookMs);
      return undefined;
    }
  }

  /** Who has too much to do is asked again a little later: the origin would have to give it once more. */
  async #ask(node: string, want: PieceRange, how: AskHow, signal: AbortSignal): Promise<PeerGift> {
    const began = ownTimeMs();
    for (;;) {
      try {
        return await this.#options.net.ask(node, want, { ...how, signal });
      } catch (err) {
        if (!isSkeinError(err, "TOO_MANY") || ownTimeMs() - began > how.patienceMs()) throw err;
      }
      await sleep(BUSY_MS * (0.5 + Math.random()), undefined, { signal });
    }
  }

  async #isDamaged(
    want: PieceRange,
    bytes: Uint8Array,
    ends: boolean,
    signal: AbortSignal,
  ): Promise<boolean> {
    const asked = want.end - want.start;
    if (bytes.length > asked || (bytes.length < asked && !ends)) return true;
    const proof = await this.#options.net.proof(want.name, signal);
    return proof !== undefined && !mayBe(proof, want.start, want.end, bytes);
  }

  #remember(want: PieceRange, node: string): void {
    const key = pieceKey(want.name, want.start);
    keepNewest(this.#from, PROVENANCES, key, node);
  }
}

type AskHow = Pick<AskOptions, "held" | "patienceMs">;

function faultIn(err: unknown): Fault {
  if (isSkeinError(err, "TOO_MANY")) return "busy";
  if (!isSkeinError(err, "TIMEOUT")) return "gone";
  return err.data["sending"] === true ? "slow" : "late";
}

async function readPiece(origin: DepotReader, want: PieceRange, signal: AbortSignal): Promise<Piece> {
  const { name, start, end } = want;
  const buffer = Buffer.allocUnsafeSlow(end - start);
  let length = 0;
  for await (const bytes of origin.get(name, signal, { start, end })) {
    if (length + bytes.length > buffer.length) {
      throw new SkeinError("IO", `${origin.name} gave more than it was asked for`, { data: { blob: name } });
    }
    buffer.set(bytes, length);
    length += bytes.length;
  }
  return { bytes: buffer.subarray(0, length), ends: length < buffer.length, kind: origin.kind };
}

const pieceKey = (name: string, at: number): string => `${name} ${Math.floor(at / PIECE_BYTES)}`;

const covers = (outer: PieceRange, inner: PieceRange): boolean =>
  outer.name === inner.name && outer.start <= inner.start && outer.end >= inner.end;

function partOf(piece: Piece, whole: PieceRange, want: PieceRange): Piece {
  const from = want.start - whole.start;
  const bytes = piece.bytes.subarray(from, from + want.end - want.start);
  return { ...piece, bytes, ends: piece.ends && from + bytes.length >= piece.bytes.length };
}
