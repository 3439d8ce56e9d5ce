import { readFile } from "node:fs/promises";
import path from "node:path";
import type { Depot } from "../../depot/seam/depot.ts";
import { writeCacheFile } from "../../lib/disk/files.ts";
import { digestOf, type ChunkId, type Digest, type TreeId } from "../../lib/text/ids.ts";
import { markOf, readHeads } from "./catalogue.ts";
import { packName, type ChunkRef } from "../tree/pack.ts";
import { isFileRow, type Row } from "../tree/rows.ts";
import type { Outline } from "../tree/segments.ts";
import { indexOf } from "../fetch/tree-blobs.ts";

/** A tree whose content its publisher knows. */
export interface CutRows extends Outline {
  readonly rows: readonly Row[];
  /** Digest of a file of more than one chunk → its chunks in order. */
  readonly lists: ReadonlyMap<Digest, readonly ChunkRef[]>;
}

/** What an index was seen to lead to, so that an unchanged one is not followed each time. */
export interface Leads {
  /** Whether the tree's index is there, and leads to all of it. An index is unsigned: anybody may have made it. */
  isPublished(cut: CutRows): Promise<boolean>;
  /** These packs were found to hold all of the tree, or were made to. */
  note(tree: TreeId, packs: readonly Digest[]): Promise<void>;
}

/** @param dir where it is remembered; null: nowhere. `key` names the source; null: it has no name */
export function leadsIn(depot: Depot, dir: string | null, key: string | null, signal: AbortSignal): Leads {
  const file = dir === null || key === null ? undefined : path.join(dir, "led", digestOf(key).slice(0, 32));
  const note: Leads["note"] = async (tree, packs) => {
    if (file !== undefined) await writeCacheFile(file, sayingOf(tree, packs));
  };
  return {
    note,
    async isPublished(cut) {
      const { tree } = cut;
      const packs = (await indexOf(depot, tree, signal))?.packs;
      if (packs === undefined) return false;
      const names = packs.map(packName);
      if ((await depot.has(names, signal)).size !== new Set(names).size) return false;
      const before = file === undefined ? "" : await readFile(file, "utf8").catch(() => "");
      if (before === sayingOf(tree, packs)) return true;
      if (!(await holdsAll(depot, packs, cut, { dir, signal }))) return false;
      await note(tree, packs);
      return true;
    },
  };
}

const sayingOf = (tree: TreeId, packs: readonly Digest[]): string => `${tree} ${digestOf(packs.join())}`;

async function holdsAll(
  depot: Depot,
  packs: readonly Digest[],
  { rows, lists, segments }: CutRows,
  { dir, signal }: { readonly dir: string | null; readonly signal: AbortSignal },
): Promise<boolean> {
  const there = await readHeads(depot, packs, dir, signal);
  const isThere = (id: string): boolean => there.chunks.has(id as ChunkId);
  return (
    segments.every(({ id }) => isThere(id)) &&
    rows.every((row) => {
      if (!isFileRow(row) || row.size === 0) return true;
      const list = lists.get(row.sha256);
      if (list === undefined) return isThere(row.sha256);
      return there.lists.get(row.sha256)?.mark === markOf(list) && list.every(({ id }) => isThere(id));
    })
  );
}
