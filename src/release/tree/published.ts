import type { Digest, TreeId } from "../../lib/text/ids.ts";

/** A collection deletes nothing that it took out of use less than this ago, in ms (upkeep/collect.ts). */
export const GRACE_MS = 24 * 3_600_000;

/**
 * Whether a publisher has taken so long, from when it began to the writing of its release, that a collection may have
 * deleted what it had found: a machine may sleep for days in the middle. Then it publishes once more.
 */
export function isLate(begunMs: number, nowMs: number): boolean {
  return nowMs - begunMs > GRACE_MS / 2;
}

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
