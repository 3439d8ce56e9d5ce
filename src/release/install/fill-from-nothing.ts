import fs from "node:fs";
import { collectAfter } from "../../lib/memory/collect.ts";
import type { FilledFromHere } from "./fill-from-here.ts";
import type { InstallPlan } from "./install-plan.ts";
import type { PlacingThread } from "./placing-thread.ts";
import { makeFolder } from "./put-file.ts";

/** Where nothing of a tree is here, the second thread makes its folders while this one finds out where its contents are. */
export function fillFromNothing(
  { stage, folders, files }: Pick<InstallPlan, "stage" | "folders" | "files">,
  thread: PlacingThread,
): FilledFromHere {
  const inner = folders.filter((folder) => folder !== stage);
  const made = thread.makeFolders(inner).catch((err: unknown) => {
    if (!thread.hasEnded) throw err;
    makeAnew(inner);
  });
  // A failure is told to whoever waits for them.
  made.catch(() => undefined);
  collectAfter(files.length);
  return { todo: files, counts: { linked: 0, copied: 0, resumed: 0 }, folders: made };
}

/** Without those that are there, so that two which the disk takes for one are told. */
function makeAnew(folders: readonly string[]): void {
  for (const folder of folders.toReversed()) {
    if (fs.existsSync(folder)) fs.rmdirSync(folder);
  }
  for (const folder of folders) makeFolder(folder);
}
