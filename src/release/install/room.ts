import fs from "node:fs";
import type { InstallPlan } from "./install-plan.ts";
import type { FreshContents } from "./reach-tree.ts";

export interface RoomOptions {
  /** Unchanged files are shared with earlier releases. */
  readonly link: boolean;
  /** Of the file system's blocks, in bytes. */
  readonly bsize: number;
  /** Contents that came with a delta: they take their room already, though they may be wanted twice. */
  readonly fresh?: FreshContents;
  /** Count what an earlier try left. */
  readonly resuming?: boolean;
}

/** What an install will take on the disk, in bytes and in entries of folders. */
export function neededRoom(plan: InstallPlan, options: RoomOptions): { bytes: number; entries: number } {
  const { link, bsize, fresh, resuming = false } = options;
  let bytes = plan.folders.length * bsize;
  let entries = plan.folders.length + plan.links.length;
  for (const planned of plan.files) {
    const { row, index } = planned;
    if (fresh?.has(row.sha256) === true || (link && plan.earlier.has(index))) continue;
    const there = resuming ? fs.lstatSync(planned.file, { throwIfNoEntry: false }) : undefined;
    if (there === undefined) entries += 1;
    bytes += Math.max(0, Math.ceil(row.size / bsize) * bsize - (there?.blocks ?? 0) * 512);
  }
  return { bytes, entries };
}
