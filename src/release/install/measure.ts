import fs from "node:fs";
import path from "node:path";
import type { ChunkId } from "../../lib/text/ids.ts";
import { Fetcher } from "../fetch/fetcher.ts";
import { PackMap } from "../fetch/pack-map.ts";
import { MAX_PREVIOUS, type InstallOptions } from "./install.ts";
import { planInstall, type InstallPlan } from "./install-plan.ts";
import { listInstalls, openOthers, stagingDir } from "../record/install-record.ts";
import type { FrameRef } from "../tree/pack.ts";
import { segmentOf, smallestDelta } from "./reach-tree.ts";
import { neededRoom } from "./room.ts";
import { loadTree, packsElsewhere, readIndex } from "../fetch/tree-blobs.ts";

/** What an install would cost. */
export interface Measured {
  /** It is here already: all else is 0. */
  readonly already: boolean;
  /** From depots, in bytes: as the smallest listed delta has it, else the parts of packs that are lacking. */
  readonly fetchBytes: number;
  /** A delta that would be made on demand may cost less. */
  readonly atMost: boolean;
  /** On the disk, in bytes. */
  readonly diskBytes: number;
}

export type MeasureOptions = Pick<InstallOptions, "release" | "tree" | "depots" | "revs" | "link" | "signal">;

/**
 * Finds out what `install` would fetch and write. Reads a release's rows and the heads of its packs, and changes nothing.
 * @throws SkeinError BLOB_MISSING, CHUNK_CORRUPT, PACK_CORRUPT, TREE_CORRUPT
 */
export async function measureInstall(options: MeasureOptions): Promise<Measured> {
  const { revs, release, tree: wanted, depots, link, signal } = options;
  if ((await listInstalls(revs)).includes(release))
    return { already: true, fetchBytes: 0, atMost: false, diskBytes: 0 };
  const fetcher = new Fetcher(depots, signal);
  using earlier = await openOthers(revs, release, MAX_PREVIOUS);
  const records = earlier.all;
  const index = await fetcher.try(async (depot) => await readIndex(depot, wanted.tree, signal));
  const packs = new PackMap(fetcher, index.packs, packsElsewhere(fetcher, wanted.tree));
  const tree = await loadTree(fetcher, wanted, { have: (id) => segmentOf(records, id), packs });
  const stage = stagingDir(revs, release);
  const plan = planInstall(tree, { revs, stage, writable: new Map(), records });
  const { bsize } = fs.statfsSync(nearest(revs));
  const diskBytes = neededRoom(plan, { link, bsize }).bytes;
  // As an install goes: a hub is asked for the delta from the latest first.
  const asked = depots.some(({ kind }) => kind === "hub")
    ? smallestDelta(index, records.slice(0, 1))
    : undefined;
  const delta = asked ?? smallestDelta(index, records);
  if (delta !== undefined) return { already: false, fetchBytes: delta.bytes, atMost: false, diskBytes };
  const fetchBytes = await lackingBytes(plan, packs);
  return { already: false, fetchBytes, atMost: records.length > 0 && fetchBytes > 0, diskBytes };
}

/** Bytes of the frames that hold what is not here. */
async function lackingBytes(plan: InstallPlan, packs: PackMap): Promise<number> {
  const lacking = plan.files.filter(({ row, index }) => row.size > 0 && !plan.earlier.has(index));
  const lists = plan.earlier.lists();
  const isKnown = (sha256: (typeof lacking)[number]["row"]["sha256"]): boolean =>
    packs.chunks.has(sha256 as string as ChunkId) || packs.lists.has(sha256) || lists.has(sha256);
  await packs.readUntil(() => lacking.every(({ row }) => isKnown(row.sha256)));
  const here = new Set<ChunkId>();
  for (const { chunks } of plan.earlier.chunked()) for (const { id } of chunks) here.add(id);
  const wanted = new Set<ChunkId>();
  for (const { row } of lacking) {
    const list = packs.lists.get(row.sha256) ?? lists.get(row.sha256);
    const ids = list?.map(({ id }) => id) ?? [row.sha256 as string as ChunkId];
    for (const id of ids) if (!here.has(id)) wanted.add(id);
  }
  await packs.readUntil(() => [...wanted].every((id) => packs.chunks.has(id)));
  const frames = new Set<FrameRef>();
  for (const id of wanted) {
    const place = packs.chunks.get(id);
    if (place !== undefined) frames.add(place.frame);
  }
  return [...frames].reduce((sum, { length }) => sum + length, 0);
}

/** The folder, or the nearest one above it that is there. */
function nearest(dir: string): string {
  let at = dir;
  while (!fs.existsSync(at)) at = path.dirname(at);
  return at;
}
