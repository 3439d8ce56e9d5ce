import { SkeinError } from "../../lib/errors/errors.ts";
import type { ChunkId } from "../../lib/text/ids.ts";
import { CHUNK_ENTRY, type FrameRef } from "../tree/pack.ts";

const ID_BYTES = 32;
const EMPTY = -1;
/** Two slots for each chunk at least. */
const LOAD = 0.5;
/**
 * Slots that are looked at for one id. Half full, a table of 16 million hashes has a run as long as this with a chance
 * of 10^-14; ids that a depot made up to begin alike would else cost time by the square of their number.
 */
const MOST_PROBES = 256;

/**
 * Finds chunks by id among frames whose entries stay as they lie in their packs' heads: as text in a map, the ids of
 * a tree of 36,000 files would be a tenth of a node's memory. Open addressing; ids are hashes already.
 */
export class ChunkTable<T extends { readonly frame: FrameRef }> {
  readonly #places: T[] = [];
  #count = 0;
  /** Per slot: which place, and where in its frame's entries. */
  #place = new Int32Array(1024).fill(EMPTY);
  #at = new Int32Array(1024);

  /**
   * Adds a frame's chunks; those that are known already stay where they are.
   * @throws SkeinError PACK_CORRUPT when their ids cannot be hashes
   */
  add(place: T): void {
    const number = this.#places.push(place) - 1;
    const { entries } = place.frame;
    this.#grow(this.#count + entries.length / CHUNK_ENTRY);
    for (let at = 0; at < entries.length; at += CHUNK_ENTRY) {
      const slot = this.#slot(entries.readUInt32BE(at), entries.toString("hex", at, at + ID_BYTES));
      if (this.#place[slot] !== EMPTY) continue;
      this.#place[slot] = number;
      this.#at[slot] = at;
      this.#count += 1;
    }
  }

  has(id: ChunkId): boolean {
    return this.get(id) !== undefined;
  }

  get(id: ChunkId): T | undefined {
    const slot = this.#slot(Number.parseInt(id.slice(0, 8), 16), id);
    return this.#places[this.#place[slot] ?? EMPTY];
  }

  /** The slot that has the id, or the free one where it belongs. */
  #slot(hash: number, id: string): number {
    const mask = this.#place.length - 1;
    for (let slot = hash & mask, probes = 0; ; slot = (slot + 1) & mask, probes++) {
      if (probes > MOST_PROBES)
        throw new SkeinError("PACK_CORRUPT", "a pack lists chunks whose ids cannot be hashes");
      const number = this.#place[slot] ?? EMPTY;
      const at = this.#at[slot] ?? 0;
      if (number === EMPTY) return slot;
      if (this.#places[number]?.frame.entries.toString("hex", at, at + ID_BYTES) === id) return slot;
    }
  }

  #grow(count: number): void {
    if (count <= this.#place.length * LOAD) return;
    const [places, ats] = [this.#place, this.#at];
    let slots = places.length;
    while (count > slots * LOAD) slots *= 2;
    this.#place = new Int32Array(slots).fill(EMPTY);
    this.#at = new Int32Array(slots);
    for (let old = 0; old < places.length; old++) {
      const number = places[old] ?? EMPTY;
      const entries = this.#places[number]?.frame.entries;
      const at = ats[old] ?? 0;
      if (entries === undefined) continue;
      let slot = entries.readUInt32BE(at) & (slots - 1);
      while (this.#place[slot] !== EMPTY) slot = (slot + 1) & (slots - 1);
      this.#place[slot] = number;
      this.#at[slot] = at;
    }
  }
}
