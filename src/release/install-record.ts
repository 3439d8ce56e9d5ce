import fs from "node:fs/promises";
import path from "node:path";
import { isReleaseId, type ChunkId, type Digest, type ReleaseId, type TreeId } from "../lib/ids.ts";
import { errnoOf } from "../lib/errors.ts";
import { writeFileAtomic } from "../lib/files.ts";
import type { ChunkRef } from "./pack.ts";
import { decodeRows, encodeRow, isFileRow, treeIdOf, type Row } from "./rows.ts";
import { decodeSince, encodeSince } from "./since.ts";

/**
 * What an install put down, kept beside the revision directories and never in them: by it a later install links what
 * is unchanged, and `verify` names what is not. It is on disk before its directory appears under its name.
 */
export interface InstallRecord {
  readonly release: ReleaseId;
  readonly tree: TreeId;
  readonly rows: readonly Row[];
  /** Per file row, in order: its mtime in ms since the epoch. */
  readonly times: readonly number[];
  /** Per file row, in order: its inode; 0 where nothing was put down. */
  readonly inodes: readonly number[];
  /** Files of more than one chunk. */
  readonly lists: ReadonlyMap<Digest, readonly ChunkRef[]>;
  /** Path in the tree → what the link laid there points at: folders that the app may write. */
  readonly writable: ReadonlyMap<string, string>;
}

/** Holds records, and what is being put down; 0700, so that nobody reaches a file before it is finished. */
export const installsDir = (revs: string): string => path.join(revs, ".install");
export const stagingDir = (revs: string, id: ReleaseId): string =>
  path.join(installsDir(revs), `${id}.stage`);
const recordFile = (revs: string, id: ReleaseId): string => path.join(installsDir(revs), `${id}.json`);

const VERSION = 1;

interface Stored {
  readonly v: number;
  readonly release: ReleaseId;
  readonly tree: TreeId;
  readonly rows: string;
  readonly times: string;
  readonly inodes: readonly number[];
  readonly lists: Readonly<Record<Digest, readonly (string | number)[]>>;
  readonly writable: Readonly<Record<string, string>>;
}

export async function writeRecord(revs: string, record: InstallRecord): Promise<void> {
  const stored: Stored = {
    v: VERSION,
    release: record.release,
    tree: record.tree,
    rows: record.rows.map(encodeRow).join(""),
    times: encodeSince(record.times).toString("latin1"),
    inodes: record.inodes,
    lists: Object.fromEntries(
      [...record.lists].map(([id, list]) => [id, list.flatMap((c) => [c.id, c.length])]),
    ),
    writable: Object.fromEntries(record.writable),
  };
  await writeFileAtomic(recordFile(revs, record.release), JSON.stringify(stored));
}

/** The record, or undefined when there is none that can be read: then nothing is linked from that install. */
export async function readRecord(revs: string, id: ReleaseId): Promise<InstallRecord | undefined> {
  try {
    const stored = JSON.parse(await fs.readFile(recordFile(revs, id), "utf8")) as Stored;
    if (stored.v !== VERSION || stored.release !== id) return undefined;
    const bytes = Buffer.from(stored.rows);
    const rows = decodeRows(bytes);
    const files = rows.filter(isFileRow).length;
    if (treeIdOf([bytes]) !== stored.tree || stored.inodes.length !== files) return undefined;
    return {
      release: id,
      tree: stored.tree,
      rows,
      times: decodeSince(Buffer.from(stored.times), files),
      inodes: stored.inodes,
      lists: new Map(Object.entries(stored.lists).map(([file, list]) => [file as Digest, pairs(list)])),
      writable: new Map(Object.entries(stored.writable)),
    };
  } catch {
    return undefined;
  }
}

function pairs(list: readonly (string | number)[]): ChunkRef[] {
  const chunks: ChunkRef[] = [];
  for (let i = 0; i < list.length; i += 2)
    chunks.push({ id: list[i] as ChunkId, length: Number(list[i + 1]) });
  return chunks;
}

export async function removeRecord(revs: string, id: ReleaseId): Promise<void> {
  await fs.rm(recordFile(revs, id), { force: true });
}

/** Releases that are installed in full, the latest first. */
export async function listInstalls(revs: string): Promise<ReleaseId[]> {
  const found: { id: ReleaseId; at: number }[] = [];
  for (const name of await namesIn(revs)) {
    if (!isReleaseId(name)) continue;
    const stat = await fs.stat(recordFile(revs, name)).catch(() => undefined);
    if (stat !== undefined) found.push({ id: name, at: stat.mtimeMs });
  }
  return found.sort((a, b) => b.at - a.at).map(({ id }) => id);
}

async function namesIn(dir: string): Promise<string[]> {
  try {
    return await fs.readdir(dir);
  } catch (err) {
    if (errnoOf(err) === "ENOENT") return [];
    throw err;
  }
}
