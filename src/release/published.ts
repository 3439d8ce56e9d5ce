import type { Digest, TreeId } from "../lib/ids.ts";

/** A tree that is in a depot, as its release document says. */
export interface PublishedTree {
  readonly tree: TreeId;
  /** Digest of the list of row segments. */
  readonly rows: Digest;
  /** Digest of the table of times; null: no times are known. */
  readonly since: Digest | null;
}

export interface PublishProgress {
  readonly files: number;
  readonly filesTotal: number;
  /** Bytes of packs stored so far. */
  readonly storedBytes: number;
}
