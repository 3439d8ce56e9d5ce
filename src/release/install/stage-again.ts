import { renameSync } from "node:fs";
import path from "node:path";
import type { ReleaseId } from "../../lib/text/ids.ts";
import { stagingDir } from "../record/install-record.ts";
import { makeWritable, refuseMounts, removeTree } from "./remove-tree.ts";

/** Turns an install back into what an unfinished one leaves, without the paths that are to be laid anew. */
export function stageAgain(revs: string, release: ReleaseId, without: readonly string[]): void {
  const dir = path.join(revs, release);
  const stage = stagingDir(revs, release);
  refuseMounts(dir);
  removeTree(stage);
  makeWritable(dir);
  for (const at of without) removeTree(path.join(dir, at));
  renameSync(dir, stage);
}
