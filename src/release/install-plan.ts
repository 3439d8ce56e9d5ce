import path from "node:path";
import type { ChunkId, Digest } from "../lib/ids.ts";
import type { InstallRecord } from "./install-record.ts";
import type { ChunkRef } from "./pack.ts";
import type { PlannedFile } from "./placer.ts";
import { isFileRow, type FileRow, type Row } from "./rows.ts";
import type { LoadedTree } from "./tree-blobs.ts";

/** What an install has to do, decided before anything is written. */
export interface InstallPlan {
  readonly stage: string;
  readonly rows: readonly Row[];
  readonly files: readonly PlannedFile[];
  /** Absolute, parents first. */
  readonly folders: readonly string[];
  readonly links: readonly { readonly file: string; readonly target: string }[];
  readonly writable: ReadonlyMap<string, string>;
  /** Sum of the files' sizes. */
  readonly bytes: number;
  /** Where an earlier install has the very content, by the file's index. */
  readonly earlier: ReadonlyMap<number, EarlierFile>;
  readonly earlierChunks: ReadonlyMap<ChunkId, EarlierChunk>;
  readonly earlierLists: ReadonlyMap<Digest, readonly ChunkRef[]>;
  readonly times: readonly number[];
  readonly fileRows: number;
}

export interface EarlierFile {
  readonly file: string;
  readonly inode: number;
  readonly time: number;
}

export interface EarlierChunk {
  readonly file: string;
  readonly offset: number;
  readonly length: number;
}

export interface PlanOptions {
  readonly revs: string;
  readonly stage: string;
  readonly writable: ReadonlyMap<string, string>;
  readonly previous: readonly InstallRecord[];
}

/** Makes its path when it is asked for: kept, the paths would be a fifth of the memory of an install. */
class StagedFile implements PlannedFile {
  readonly #stage: string;
  readonly row: FileRow;
  readonly index: number;
  readonly time: number;

  constructor(stage: string, row: FileRow, index: number, time: number) {
    this.#stage = stage;
    this.row = row;
    this.index = index;
    this.time = time;
  }

  get file(): string {
    return `${this.#stage}/${this.row.path}`;
  }
}

export function planInstall(tree: LoadedTree, options: PlanOptions): InstallPlan {
  const { stage, writable } = options;
  const files: PlannedFile[] = [];
  const folders = [stage];
  const links: { file: string; target: string }[] = [];
  let index = 0;
  for (const row of tree.rows) {
    const at = isFileRow(row) ? index++ : 0;
    if (isUnder(row.path, writable)) continue;
    if (row.kind === "d") folders.push(`${stage}/${row.path}`);
    else if (row.kind === "l") links.push({ file: `${stage}/${row.path}`, target: row.target });
    else files.push(new StagedFile(stage, row, at, tree.times[at] ?? 0));
  }
  for (const [at, target] of writable) {
    if (!folders.includes(path.dirname(`${stage}/${at}`))) addFolders(folders, stage, at);
    links.push({ file: `${stage}/${at}`, target });
  }
  const bytes = files.reduce((sum, { row }) => sum + row.size, 0);
  const { byContent, earlierChunks, earlierLists } = earlierContent(options);
  const earlier = new Map<number, EarlierFile>();
  for (const { row, index } of files) {
    const there = byContent.get(contentKey(row));
    if (there !== undefined) earlier.set(index, there);
  }
  const base = { stage, rows: tree.rows, files, folders, links, writable, bytes, times: tree.times };
  return { ...base, fileRows: index, earlier, earlierChunks, earlierLists };
}

function addFolders(folders: string[], stage: string, at: string): void {
  const parts = at.split("/").slice(0, -1);
  for (let i = 1; i <= parts.length; i++) {
    const folder = `${stage}/${parts.slice(0, i).join("/")}`;
    if (!folders.includes(folder)) folders.push(folder);
  }
}

/** Is this path one that is laid elsewhere, or below one? */
export function isUnder(at: string, writable: ReadonlyMap<string, string>): boolean {
  if (writable.size === 0) return false;
  for (let end = at.length; end > 0; end = at.lastIndexOf("/", end - 1)) {
    if (writable.has(at.slice(0, end))) return true;
  }
  return false;
}

/** A link shares mode and times too, so a plain file is not the same as an executable one. */
const contentKey = (row: FileRow): string => row.kind + row.sha256;

/** The latest install wins; files of many chunks offer each chunk, since a new version shares most of them. */
function earlierContent(options: PlanOptions) {
  const byContent = new Map<string, EarlierFile>();
  const earlierChunks = new Map<ChunkId, EarlierChunk>();
  const earlierLists = new Map<Digest, readonly ChunkRef[]>();
  for (const record of options.previous.toReversed()) {
    const dir = path.join(options.revs, record.release);
    for (const [sha256, list] of record.lists) earlierLists.set(sha256, list);
    for (const [i, row] of record.rows.filter(isFileRow).entries()) {
      const inode = record.inodes[i] ?? 0;
      if (inode === 0 || row.size === 0) continue;
      const file = `${dir}/${row.path}`;
      byContent.set(contentKey(row), { file, inode, time: record.times[i] ?? 0 });
      let offset = 0;
      for (const chunk of record.lists.get(row.sha256) ?? []) {
        earlierChunks.set(chunk.id, { file, offset, length: chunk.length });
        offset += chunk.length;
      }
    }
  }
  return { byContent, earlierChunks, earlierLists };
}
