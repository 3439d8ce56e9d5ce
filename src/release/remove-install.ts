import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import { faultPoint } from "../lib/fault.ts";
import { syncDirectory } from "../lib/files.ts";
import { isReleaseId, type ReleaseId } from "../lib/ids.ts";
import { refuseMounts, removeTree } from "./remove-tree.ts";
import { keepForSpare, type SpareWish } from "./spare.ts";
import { installsDir, listInstalls, removeRecord } from "./install-record.ts";

/**
 * Removes an install, and what an unfinished one, a mending or a delta left of it. Idempotent. Its record goes first,
 * for good: what a removal that is cut leaves is no install any more (`listLeft`).
 * @throws SkeinError MOUNTED, before anything is removed
 * @param heir what its tree may become the spare of, in place of being removed
 */
export async function removeInstall(revs: string, release: ReleaseId, heir?: SpareWish): Promise<void> {
  const installs = installsDir(revs);
  const begun = namesIn(installs).filter((name) => releaseIn(name) === release);
  const trees = [path.join(revs, release), ...begun.map((name) => path.join(installs, name))];
  for (const tree of trees) refuseMounts(tree);
  if (existsSync(installs)) {
    await removeRecord(revs, release);
    await syncDirectory(installs);
  }
  faultPoint("install.unrecorded");
  if (heir !== undefined) keepForSpare(release, heir);
  faultPoint("install.bequeathed");
  for (const tree of trees) removeTree(tree);
}

/** Releases of which there is something here and no install: begun and not ended, or not removed to the end. */
export async function listLeft(revs: string): Promise<readonly ReleaseId[]> {
  const installed = await listInstalls(revs);
  const begun = namesIn(installsDir(revs)).flatMap((name) => releaseIn(name) ?? []);
  const left = new Set([...namesIn(revs).filter(isReleaseId), ...begun]);
  return [...left].filter((id) => !installed.includes(id));
}

function releaseIn(name: string): ReleaseId | undefined {
  const [id = ""] = name.split(".", 1);
  return isReleaseId(id) ? id : undefined;
}

const namesIn = (dir: string): readonly string[] => (existsSync(dir) ? readdirSync(dir) : []);
