import type { Digest } from "../../lib/text/ids.ts";
import { comparePaths } from "../tree/tree-path.ts";
import { isFileRow, type FileRow, type Row } from "../tree/rows.ts";

/** A tree with its times: what an install has put down, or is to. */
export interface TreeState {
  readonly rows: readonly Row[];
  /** Per file row, in order, in ms since the epoch. */
  readonly times: readonly number[];
}

/** A content that the older tree has not, once for all files that have it. */
export interface FreshContent {
  /** In bytes; never 0. */
  readonly size: number;
  /** The older tree's file at the same path, by its index among the files. */
  readonly own: number | undefined;
}

/** An older tree's files, by path and by content. */
export class OldFiles {
  readonly files: readonly FileRow[];
  readonly times: readonly number[];
  /** By content, one more than the index of its first file; 0 where there is none. Full slots push the next ones on. */
  #slots = new Int32Array();

  constructor({ rows, times }: TreeState) {
    this.files = rows.filter(isFileRow);
    this.times = times;
  }

  at(path: string): number | undefined {
    let [low, high] = [0, this.files.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (comparePaths(this.files[middle]?.path ?? "", path) < 0) low = middle + 1;
      else high = middle;
    }
    return this.files[low]?.path === path ? low : undefined;
  }

  /** The first one of a content is meant, whoever looks. */
  withContent(sha256: Digest): number | undefined {
    if (this.#slots.length === 0) this.#fill();
    const index = this.#slots[this.#slotOf(sha256)] ?? 0;
    return index === 0 ? undefined : index - 1;
  }

  /** Numbers: a map of as many texts takes much longer to make. */
  #fill(): void {
    this.#slots = new Int32Array(2 ** Math.ceil(Math.log2(2 * this.files.length + 1)));
    for (const [i, { sha256 }] of this.files.entries()) {
      const slot = this.#slotOf(sha256);
      if (this.#slots[slot] === 0) this.#slots[slot] = i + 1;
    }
  }

  /** Where the content is, or would be put. */
  #slotOf(sha256: Digest): number {
    const mask = this.#slots.length - 1;
    for (let slot = Number.parseInt(sha256.slice(0, 8), 16) & mask; ; slot = (slot + 1) & mask) {
      const index = this.#slots[slot] ?? 0;
      if (index === 0 || this.files[index - 1]?.sha256 === sha256) return slot;
    }
  }
}
