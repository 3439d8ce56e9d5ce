import { lstatSync, statSync } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";
import { isReleaseId, type Digest, type ReleaseId, type TreeId } from "../../lib/text/ids.ts";
import { errnoOf } from "../../lib/errors/errors.ts";
import { writeFileAtomic } from "../../lib/disk/files.ts";
import type { ChunkRef } from "../tree/pack.ts";
import { encodeRecord, RecordFile, type RecordContent } from "./record-file.ts";
import { encodeRow, isFileRow, treeIdOf, type Row } from "../tree/rows.ts";

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
  readonly inodes: Float64Array;
  /** Files of more than one chunk. */
  readonly lists: ReadonlyMap<Digest, readonly ChunkRef[]>;
  /** Path in the tree → what the link laid there points at: folders that the app may write. */
  readonly writable: ReadonlyMap<string, string>;
}

/** Holds records, and what is being put down; 0700, so that nobody reaches a file before it is finished. */
export const installsDir = (revs: string): string => path.join(revs, ".install");
export const stagingDir = (revs: string, id: ReleaseId): string =>
  path.join(installsDir(revs), `${id}.stage`);
/** Where files that replace damaged ones are put together. */
export const mendingDir = (revs: string, id: ReleaseId): string => path.join(installsDir(revs), `${id}.mend`);
/** A spare copy of a release's tree, whole (`spare.ts`). */
export const spareDir = (revs: string, id: ReleaseId): string => path.join(installsDir(revs), `${id}.spare`);
/** What is to become one. */
export const spareStage = (revs: string, id: ReleaseId): string => `${spareDir(revs, id)}.new`;
/** What was told of a release that cannot be removed (`stuck.ts`). */
export const toldFile = (revs: string, id: ReleaseId): string => path.join(installsDir(revs), `${id}.told`);
/** That the install's post-sync ran well: gone with it, so that what comes anew has it run anew. */
export const syncedFile = (revs: string, id: ReleaseId): string =>
  path.join(installsDir(revs), `${id}.synced`);
const recordFile = (revs: string, id: ReleaseId): string => path.join(installsDir(revs), `${id}.record`);

/** A name that is free, for what has to make way. */
export function asideDir(revs: string, id: ReleaseId): string {
  for (let n = 1; ; n++) {
    const dir = path.join(installsDir(revs), `${id}.aside-${n}`);
    if (lstatSync(dir, { throwIfNoEntry: false }) === undefined) return dir;
  }
}

/** The release that something beside the records is of. */
export function releaseIn(name: string): ReleaseId | undefined {
  const [id = ""] = name.split(".", 1);
  return isReleaseId(id) ? id : undefined;
}

async function writeRecord(revs: string, record: RecordContent): Promise<void> {
  await writeFileAtomic(recordFile(revs, record.release), encodeRecord(record));
}

/** The same of what is installed already: it is as late as it was among others. */
export async function rewriteRecord(revs: string, record: RecordContent): Promise<void> {
  const file = recordFile(revs, record.release);
  const before = statSync(file, { throwIfNoEntry: false });
  await writeRecord(revs, record);
  if (before !== undefined) await fs.utimes(file, before.atimeMs / 1000, before.mtimeMs / 1000);
}

/** The same for the one who puts the release down: what an earlier try left of it, cut while it wrote, makes way. */
export async function writeFirstRecord(revs: string, record: RecordContent): Promise<void> {
  const file = recordFile(revs, record.release);
  const aside = `${file}.new`;
  const latest = await latestOf(revs);
  await fs.rm(aside, { force: true });
  await writeFileAtomic(file, encodeRecord(record), 0o600, aside);
  // The clock may have been set back.
  if (statSync(file).mtimeMs > latest) return;
  const later = latest / 1000 + 0.01;
  await fs.utimes(file, later, later);
}

/** When the latest install was recorded, in ms since the epoch; 0 where there is none. */
async function latestOf(revs: string): Promise<number> {
  const [latest] = await listInstalls(revs);
  return latest === undefined ? 0 : statSync(recordFile(revs, latest)).mtimeMs;
}

/** The open record, or undefined when there is none that can be read: then nothing is linked from that install. */
export function openRecord(revs: string, id: ReleaseId): RecordFile | undefined {
  const record = RecordFile.open(recordFile(revs, id));
  if (record === undefined || record.release === id) return record;
  record[Symbol.dispose]();
  return undefined;
}

/** Open records, the latest install's first; closed together. */
export class OpenRecords implements Disposable {
  readonly all: readonly RecordFile[];

  constructor(all: readonly RecordFile[]) {
    this.all = all;
  }

  [Symbol.dispose](): void {
    for (const record of this.all) record[Symbol.dispose]();
  }
}

/** The records of all installs but one, at most so many of those that can be read. */
export async function openOthers(
  revs: string,
  except: ReleaseId | undefined,
  most = Infinity,
): Promise<OpenRecords> {
  const records: RecordFile[] = [];
  for (const id of await listInstalls(revs)) {
    const record = id === except || records.length >= most ? undefined : openRecord(revs, id);
    if (record !== undefined) records.push(record);
  }
  return new OpenRecords(records);
}

/** The whole record in memory: for those who look at every row. */
export async function readRecord(revs: string, id: ReleaseId): Promise<InstallRecord | undefined> {
  using record = openRecord(revs, id);
  if (record === undefined) return undefined;
  const rows = record.segments.flatMap((_, n) => record.rowsOf(n));
  const inodes = record.inodes();
  if (treeIdOf(rows.values().map((row) => Buffer.from(encodeRow(row)))) !== record.tree) return undefined;
  if (rows.filter(isFileRow).length !== inodes.length) return undefined;
  const lists = new Map(record.lists().map(({ sha256, chunks }) => [sha256, chunks]));
  const { tree, writable } = record;
  return { release: id, tree, rows, times: record.times(), inodes, lists, writable };
}

export async function removeRecord(revs: string, id: ReleaseId): Promise<void> {
  await fs.rm(recordFile(revs, id), { force: true });
}

/** Releases that are installed in full, the latest first. */
export async function listInstalls(revs: string): Promise<ReleaseId[]> {
  const found: { id: ReleaseId; at: number }[] = [];
  for (const name of await namesIn(revs)) {
    if (!isReleaseId(name)) continue;
    const stat = statSync(recordFile(revs, name), { throwIfNoEntry: false });
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
