/** What the manifest and the conventions need of a tree, from where it lies. Only the top is read. */
import fs from "node:fs/promises";
import path from "node:path";
import { errnoOf, SkeinError } from "../lib/errors/errors.ts";
import { readIfThere } from "../lib/disk/files.ts";
import type { ChunkId } from "../lib/text/ids.ts";
import { isFileRow, type FileRow } from "../release/tree/rows.ts";
import type { LoadedTree } from "../release/fetch/tree-blobs.ts";
import type { TopEntry, TreeReader } from "./conventions.ts";

/** Of a folder: a source, or an installed release. A command that merely wants an app's name may run in a home folder. */
export function folderReader(dir: string): TreeReader {
  return {
    list: async () => {
      const entries = await fs.readdir(dir, { withFileTypes: true });
      const known = entries.filter(
        (entry) => entry.isFile() || entry.isDirectory() || entry.isSymbolicLink(),
      );
      return await Promise.all(
        known.map(async (entry): Promise<TopEntry> => {
          const kind = entry.isDirectory() ? "directory" : entry.isFile() ? "file" : "link";
          return {
            name: entry.name,
            kind,
            executable: kind === "file" && (await isExecutable(dir, entry.name)),
          };
        }),
      );
    },
    read: async (name) => await readIfThere(path.join(dir, name)),
  };
}

async function isExecutable(dir: string, name: string): Promise<boolean> {
  try {
    return ((await fs.stat(path.join(dir, name))).mode & 0o100) !== 0;
  } catch (err) {
    if (errnoOf(err) === "ENOENT") return false;
    throw err;
  }
}

/** Of a tree that lies in a depot. */
export function readerOfTree(tree: LoadedTree): TreeReader {
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

/** Longest file that is read whole: what a release holds may be of any size, and a list may name a chunk many times. */
const MOST_BYTES = 1024 * 1024;

/** A file of one chunk has that chunk's id as its hash; a larger one has a list of chunks beside the rows. */
async function textOf({ packs }: LoadedTree, file: FileRow): Promise<string> {
  if (file.size === 0) return "";
  if (file.size > MOST_BYTES) throw unreadable(file, "it is too large");
  const alone = file.sha256 as string as ChunkId;
  await packs.readUntil(() => packs.chunks.has(alone) || packs.lists.has(file.sha256));
  const list = packs.lists.get(file.sha256);
  if (list !== undefined && list.reduce((sum, { length }) => sum + length, 0) !== file.size)
    throw unreadable(file, "its chunks do not make it up");
  const ids = list?.map(({ id }) => id) ?? [alone];
  const pieces = new Map<ChunkId, Buffer>();
  await packs.fetch(new Set(ids), (chunk, bytes) => pieces.set(chunk.id, Buffer.from(bytes)));
  return Buffer.concat(ids.map((id) => pieces.get(id) ?? Buffer.alloc(0))).toString("utf8");
}

function unreadable({ path }: FileRow, why: string): SkeinError {
  return new SkeinError("MANIFEST_INVALID", `${path} is not read: ${why}`);
}
