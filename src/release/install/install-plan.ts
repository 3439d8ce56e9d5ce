import path from "node:path";
import { EarlierContent } from "./earlier-content.ts";
import type { PlannedFile } from "./planned-file.ts";
import type { RecordFile } from "../record/record-file.ts";
import { blockedIn } from "../tree/own-place.ts";
import { isFileRow, type FileRow } from "../tree/rows.ts";
import type { KnownTree } from "../fetch/tree-blobs.ts";

export interface PlannedLink {
  readonly file: string;
  readonly target: string;
}

/** What is to be laid where. */
export interface Layout {
  readonly stage: string;
  readonly tree: KnownTree;
  readonly files: readonly PlannedFile[];
  /** Absolute, parents first. */
  readonly folders: readonly string[];
  /** Folders in which something is to be laid, or was taken away. */
  readonly changed: readonly string[];
  readonly links: readonly PlannedLink[];
  /** Of those that were asked for: where the tree has a file or a link itself, that is laid. */
  readonly writable: ReadonlyMap<string, string>;
  /** Sum of the files' sizes. */
  readonly bytes: number;
  /** Files of the tree, also those that are not put down. */
  readonly fileRows: number;
}

/** What an install has to do, decided before anything is written. */
export interface InstallPlan extends Layout {
  readonly earlier: EarlierContent;
}

interface LayoutOptions {
  readonly stage: string;
  readonly writable: ReadonlyMap<string, string>;
}

interface EarlierOptions {
  readonly revs: string;
  /** Of earlier installs, the latest first; open. */
  readonly records: readonly RecordFile[];
}

/** Makes its path when it is asked for: kept, the paths would be a fifth of the memory of an install. */
class StagedFile implements PlannedFile {
  /** Not a private field: those take longer to make, for each of many thousand files. */
  readonly stage: string;
  readonly row: FileRow;
  readonly index: number;
  readonly time: number;

  constructor(stage: string, row: FileRow, index: number, time: number) {
    this.stage = stage;
    this.row = row;
    this.index = index;
    this.time = time;
  }

  get file(): string {
    return `${this.stage}/${this.row.path}`;
  }
}

export function planInstall(tree: KnownTree, options: LayoutOptions & EarlierOptions): InstallPlan {
  const layout = layOut(tree, options);
  const { revs, records } = options;
  return {
    ...layout,
    earlier: new EarlierContent({ tree, files: layout.files, isPart: false, records, revs }),
  };
}

export function layOut(tree: KnownTree, { stage, writable: asked }: LayoutOptions): Layout {
  const writable = fitting(asked, tree);
  const files: PlannedFile[] = [];
  const folders = [stage];
  const links: PlannedLink[] = [];
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
  return { stage, tree, files, folders, changed: folders, links, writable, bytes, fileRows: index };
}

/** It may be a guess by another release's manifest. */
function fitting(asked: ReadonlyMap<string, string>, { rows }: KnownTree): ReadonlyMap<string, string> {
  const blocked = new Set(blockedIn(rows, asked.keys()).map(({ writable }) => writable));
  return new Map([...asked].filter(([at]) => !blocked.has(at)));
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
