import type { Digest } from "../../lib/ids.ts";
import { isFileRow, type FileRow, type Row } from "../rows.ts";

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
  readonly #byPath = new Map<string, number>();
  readonly #byContent = new Map<Digest, number>();

  constructor({ rows, times }: TreeState) {
    this.files = rows.filter(isFileRow);
    this.times = times;
    for (const [i, row] of this.files.entries()) {
      this.#byPath.set(row.path, i);
      // The first one of a content is meant, whoever looks.
      if (!this.#byContent.has(row.sha256)) this.#byContent.set(row.sha256, i);
    }
  }

  at(path: string): number | undefined {
    return this.#byPath.get(path);
  }

  withContent(sha256: Digest): number | undefined {
    return this.#byContent.get(sha256);
  }
}
