import { manifestOfTree, type TopEntry, type TreeReader } from "../app/conventions.ts";
import type { Manifest } from "../app/manifest.ts";
import type { DepotReader } from "../depot/depot.ts";
import type { ChunkId } from "../lib/ids.ts";
import { Fetcher } from "../release/fetch.ts";
import { isFileRow, type FileRow } from "../release/rows.ts";
import { loadTree, type LoadedTree } from "../release/tree-blobs.ts";
import type { FoundRelease } from "./release.ts";

export interface ReleaseManifestOptions {
  readonly depot: DepotReader;
  readonly env: string;
  readonly signal: AbortSignal;
}

/** The manifest of a release that lies in a depot, proved against the release's signed tree. */
export async function manifestOfRelease(
  found: FoundRelease,
  options: ReleaseManifestOptions,
): Promise<Manifest> {
  const { app, tree, rows, since } = found.release;
  const loaded = await loadTree(new Fetcher([options.depot], options.signal), { tree, rows, since });
  return await manifestOfTree(readerOfTree(loaded), { app, env: options.env });
}

function readerOfTree(tree: LoadedTree): TreeReader {
  return {
    list: async () =>
      tree.rows
        .filter(({ path }) => !path.includes("/"))
        .map(({ path, kind }): TopEntry => {
          const what = kind === "d" ? "directory" : kind === "l" ? "link" : "file";
          return { name: path, kind: what, executable: kind === "x" };
        }),
    read: async (name) => {
      const row = tree.rows.find(({ path }) => path === name);
      return row !== undefined && isFileRow(row) ? await textOf(tree, row) : undefined;
    },
  };
}

/** A file of one chunk has that chunk's id as its hash; a larger one has a list of chunks beside the rows. */
async function textOf({ packs }: LoadedTree, file: FileRow): Promise<string> {
  if (file.size === 0) return "";
  const alone = file.sha256 as string as ChunkId;
  await packs.readUntil(() => packs.chunks.has(alone) || packs.lists.has(file.sha256));
  const ids = packs.lists.get(file.sha256)?.map(({ id }) => id) ?? [alone];
  const pieces = new Map<ChunkId, Buffer>();
  await packs.fetch(new Set(ids), (chunk, bytes) => pieces.set(chunk.id, Buffer.from(bytes)));
  return Buffer.concat(ids.map((id) => pieces.get(id) ?? Buffer.alloc(0))).toString("utf8");
}
