import { isSkeinError, type SkeinError } from "../../lib/errors/errors.ts";
import type { ChunkId, Digest } from "../../lib/text/ids.ts";
import { readHead } from "./blobs.ts";
import { ChunkTable } from "./chunk-table.ts";
import { fetchFrames, missingChunk, type ChunkTaker, type FrameTaker, type Takers } from "./fetch-frames.ts";
import { NotTaken, type Fetcher } from "./fetcher.ts";
import { inflate, inflateAside, type ChunkRef, type FrameRef } from "../tree/pack.ts";

const PACKS_AT_ONCE = 2;

interface Place {
  readonly pack: Digest;
  readonly frame: FrameRef;
}

/** Chunks to be fetched; what is taken may be wanted no more from then on. */
export interface WantedChunks extends Iterable<ChunkId> {
  has(id: ChunkId): boolean;
}

/** Where chunks are, learnt from the heads of a release's packs, one head after the other as they are needed. */
export class PackMap {
  readonly #fetcher: Fetcher;
  #packs: Digest[] | undefined;
  readonly #readPacks: () => Promise<readonly Digest[]>;
  #readOthers: (() => Promise<readonly Digest[]>) | undefined;
  readonly #seen = new Set<Digest>();
  /** Why a pack could not be read. */
  #lost: SkeinError | undefined;
  readonly chunks = new ChunkTable<Place>();
  readonly lists = new Map<Digest, readonly ChunkRef[]>();

  /**
   * @param packs newest first; a function is called when the first of them is needed
   * @param others more packs, asked for where the first ones do not lead to all that is wanted: an index is unsigned,
   * and one depot's may lie where another's does not
   */
  constructor(
    fetcher: Fetcher,
    packs: readonly Digest[] | (() => Promise<readonly Digest[]>),
    others?: () => Promise<readonly Digest[]>,
  ) {
    this.#fetcher = fetcher;
    this.#readPacks = typeof packs === "function" ? packs : async () => packs;
    this.#readOthers = others;
  }

  /** Reads heads until `isEnough` says so or there are no more. @throws why one could not be read, where it lacks */
  async readUntil(isEnough: () => boolean): Promise<void> {
    while (!isEnough()) {
      this.#packs ??= [...(await this.#readPacks())];
      const pack = this.#packs.shift() ?? (await this.#otherPack());
      if (pack === undefined) {
        if (this.#lost !== undefined) throw this.#lost;
        return;
      }
      this.#seen.add(pack);
      await this.#readHead(pack);
    }
  }

  async #readHead(pack: Digest): Promise<void> {
    try {
      const head = await this.#fetcher.try((depot) => readHead(depot, pack, this.#fetcher.signal));
      for (const frame of head.frames) this.chunks.add({ pack, frame });
      for (const [file, list] of head.lists) if (!this.lists.has(file)) this.lists.set(file, list);
    } catch (err) {
      if (!isSkeinError(err, "BLOB_MISSING", "PACK_CORRUPT")) throw err;
      this.#lost ??= err;
    }
  }

  async #otherPack(): Promise<Digest | undefined> {
    const others = (await this.#readOthers?.()) ?? [];
    this.#readOthers = undefined;
    this.#packs = [...new Set(others)].filter((pack) => !this.#seen.has(pack));
    return this.#packs.shift();
  }

  /**
   * Fetches chunks in the order in which they lie in their packs, checks and hands them on.
   * @param takeFrame is asked first, for each frame in which something is wanted
   * @throws SkeinError CHUNK_MISSING when no pack has one; CHUNK_CORRUPT, PACK_CORRUPT when no depot has it whole
   */
  async fetch(wanted: WantedChunks, take: ChunkTaker, takeFrame?: FrameTaker): Promise<void> {
    const byPack = new Map<Digest, Set<FrameRef>>();
    let last: Place | undefined;
    const isPlaced = (id: ChunkId): boolean => {
      const place = this.chunks.get(id);
      if (place === undefined) return false;
      if (place === last) return true;
      last = place;
      byPack.set(place.pack, (byPack.get(place.pack) ?? new Set()).add(place.frame));
      return true;
    };
    const ids = wanted[Symbol.iterator]();
    let next = ids.next();
    await this.readUntil(() => {
      while (next.done !== true && isPlaced(next.value)) next = ids.next();
      return next.done === true;
    });
    if (next.done !== true) throw missingChunk(next.value);
    const todo = [...byPack];
    const takers = takersOf(wanted, take, takeFrame);
    const work = async (): Promise<void> => {
      for (let next = todo.shift(); next !== undefined; next = todo.shift()) {
        const [pack, frames] = next;
        const ordered = [...frames].sort((a, b) => a.start - b.start);
        await fetchFrames(this.#fetcher, pack, ordered, takers);
      }
    };
    await Promise.all(Array.from({ length: PACKS_AT_ONCE }, work));
  }
}

/** Whoever takes frames tells by a code what may be better the next time; what the system refuses will not be. */
function takersOf(wanted: WantedChunks, take: ChunkTaker, takeFrame?: FrameTaker): Takers {
  const notTaken = (cause: unknown): Error => new NotTaken("the bytes could not be taken", { cause });
  return {
    take: (chunk, bytes) => {
      if (!wanted.has(chunk.id)) return;
      try {
        take(chunk, bytes);
      } catch (err) {
        throw notTaken(err);
      }
    },
    takeFrame: (frame, bytes) =>
      takeFrame?.(frame, bytes)?.catch((err: unknown) => {
        throw isSkeinError(err) ? err : notTaken(err);
      }),
    inflate: takeFrame === undefined ? inflateAside : inflate,
  };
}
