import fs from "node:fs/promises";
import path from "node:path";
import { MANIFEST_FILE } from "../../app/conventions.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import type { GitObjects } from "../../source/git-objects.ts";
import { topOfCommit } from "../../source/git.ts";
import { ignored, isCommitted } from "./git.ts";
import type { Origin } from "./source.ts";

/**
 * A commit without the manifest that lies in the folder would be deployed by conventions, to all nodes: nobody who has
 * just written one means that.
 * @throws SkeinError MANIFEST_UNCOMMITTED
 */
export async function refuseNewManifest(origin: Origin, dir: string, signal: AbortSignal): Promise<void> {
  if (origin.kind !== "commit" || !(await isPassedOver(origin, dir, signal))) return;
  const isIgnored = await ignored(dir, MANIFEST_FILE, signal);
  const add = `git add ${isIgnored ? "--force " : ""}${MANIFEST_FILE}`;
  throw new SkeinError("MANIFEST_UNCOMMITTED", `${MANIFEST_FILE} is here, but not in the commit (HEAD)`, {
    hint: `${isIgnored ? "git ignores it. " : ""}Commit it: ${add} && git commit. Or take the folder as it is: --from .`,
    data: { path: dir, commit: origin.commit },
  });
}

/** A commit, and which part of it a folder is. */
export interface CommitOfFolder {
  readonly commit: string;
  readonly folder: string;
  /** Of its repository, where they are being read already. */
  readonly objects?: GitObjects | undefined;
}

/** Does a manifest lie in a folder that its part of a commit has none of? */
export async function isPassedOver(
  { commit, folder, objects }: CommitOfFolder,
  dir: string,
  signal: AbortSignal,
): Promise<boolean> {
  if (!(await hasManifest(dir))) return false;
  if (objects === undefined) return !(await isCommitted(dir, MANIFEST_FILE, commit, signal));
  const top = await topOfCommit(objects, commit, folder, signal).catch((err: unknown) => {
    if (isSkeinError(err, "SOURCE_NOT_FOUND")) return []; // the commit has no such folder
    throw err;
  });
  return !top.some(({ path: name }) => name === MANIFEST_FILE);
}

/**
 * Who is in a folder of the app (`src`) and names none means the app, and not another one that is called like the
 * folder.
 * @throws SkeinError SOURCE_NOT_FOUND
 */
export async function refuseBelowManifest(origin: Origin, dir: string): Promise<void> {
  if (origin.kind !== "commit" || (await hasManifest(dir))) return;
  const from = await fs.realpath(dir);
  for (let above = from; above !== origin.repo && above !== path.dirname(above);) {
    above = path.dirname(above);
    if (!(await hasManifest(above))) continue;
    throw new SkeinError("SOURCE_NOT_FOUND", `${MANIFEST_FILE} is in ${above}, not here`, {
      hint: `Run it there: cd ${path.relative(from, above)}. Or take this folder as an app of its own: --from .`,
      data: { path: dir, above },
    });
  }
}

const hasManifest = async (dir: string): Promise<boolean> =>
  await fs.stat(path.join(dir, MANIFEST_FILE)).then(
    () => true,
    () => false,
  );
