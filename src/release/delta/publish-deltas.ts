import { faultPoint } from "../../lib/process/fault.ts";
import type { BlobSource, Depot, DepotReader } from "../../depot/seam/depot.ts";
import { bytesBlob } from "../fetch/blobs.ts";
import type { PublishedTree } from "../tree/published.ts";
import { deltaName, encodeIndex, indexName, type DeltaRef } from "../tree/release-index.ts";
import { indexOf, isUnreadable } from "../fetch/tree-blobs.ts";
import { makeDelta, type MakeDeltaOptions } from "./make-delta.ts";

export interface PublishDeltasOptions extends Omit<MakeDeltaOptions, "depot" | "from"> {
  readonly depot: Depot;
  /** Where trees are read. Default: the depot. */
  readonly trees?: DepotReader;
  /** Told of each delta before it is stored. */
  readonly onMade?: (name: string, delta: BlobSource) => Promise<void>;
  /** Trees that nodes come from, the likeliest first. */
  readonly from: readonly PublishedTree[];
}

/** To one tree; the oldest goes when there are more. Nodes of many kinds could else fill a depot with their pairs. */
const MOST_KEPT = 16;

/**
 * Makes the deltas to a tree that is in a depot, as far as its index does not list them, and lists them there: last, so
 * that whoever reads the index finds what it says.
 * @returns what was made or found to be dearer than packs
 * @throws SkeinError as `makeDelta`; whatever the depot throws
 */
export async function publishDeltas(options: PublishDeltasOptions): Promise<readonly DeltaRef[]> {
  const { depot, to, signal } = options;
  const index = await indexOf(depot, to.tree, signal);
  if (index === undefined) return [];
  const known = new Set([to.tree, ...index.deltas.map(({ from }) => from)]);
  const made: DeltaRef[] = [];
  for (const from of options.from) {
    if (known.has(from.tree)) continue;
    known.add(from.tree);
    const bytes = await storeDelta(options, from);
    if (bytes !== undefined) made.push({ from: from.tree, bytes });
  }
  if (made.length === 0) return made;
  const now = (await indexOf(depot, to.tree, signal)) ?? index;
  const deltas = [...made, ...now.deltas.filter(({ from }) => !made.some((one) => one.from === from))];
  const kept = deltas.slice(0, MOST_KEPT);
  faultPoint("publish.deltas");
  await depot.put(indexName(to.tree), bytesBlob(encodeIndex({ ...now, deltas: kept })), signal);
  for (const { from, bytes } of deltas.slice(MOST_KEPT)) {
    if (bytes > 0) await depot.delete(deltaName(to.tree, from), signal);
  }
  return made;
}

/** @returns the delta's bytes; 0 when packs are cheaper; undefined when the older tree cannot be read any more */
async function storeDelta(options: PublishDeltasOptions, from: PublishedTree): Promise<number | undefined> {
  const { depot, trees = depot, to, onMade, signal } = options;
  const name = deltaName(to.tree, from.tree);
  try {
    using delta = await makeDelta({ ...options, depot: trees, from });
    if (delta === undefined) return 0;
    await onMade?.(name, delta);
    await depot.put(name, delta, signal);
    return delta.size;
  } catch (err) {
    if (isUnreadable(err)) return undefined;
    throw err;
  }
}
