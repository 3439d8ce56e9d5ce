import fs, { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import { faultPoint } from "../../lib/process/fault.ts";
import { errnoOf, SkeinError } from "../../lib/errors/errors.ts";
import { syncDirectory } from "../../lib/disk/files.ts";
import { isReleaseId, type ReleaseId } from "../../lib/text/ids.ts";
import { notRemoved, refuseMounts, removeTree } from "./remove-tree.ts";
import { keepForSpare, type SpareWish } from "./spare.ts";
import {
  asideDir,
  installsDir,
  listInstalls,
  releaseIn,
  removeRecord,
  toldFile,
} from "../record/install-record.ts";

/**
 * Removes an install, and what an unfinished one, a mending or a delta left of it. Idempotent. Its tree leaves its name
 * first and its record goes then, for good: what a removal that is cut leaves is no install any more (`listLeft`), and
 * in nobody's way.
 * @throws SkeinError MOUNTED and, where its tree cannot be moved, IO, before anything is removed: it stays an install;
 *   IO also where something of it stays, after all the rest is gone
 * @param heir what its tree may become the spare of, in place of being removed
 */
export async function removeInstall(revs: string, release: ReleaseId, heir?: SpareWish): Promise<void> {
  const installs = installsDir(revs);
  const told = toldFile(revs, release);
  for (const at of [path.join(revs, release), ...begunOf(installs, release)]) refuseMounts(at);
  const tree = makeWay(revs, release);
  faultPoint("install.moved");
  if (existsSync(installs)) {
    await removeRecord(revs, release);
    await syncDirectory(installs);
  }
  faultPoint("install.unrecorded");
  if (heir !== undefined) keepForSpare(tree, heir);
  faultPoint("install.bequeathed");
  const trees = new Set([tree, ...begunOf(installs, release)]);
  trees.delete(told);
  const [stays] = [...trees].flatMap((at) => failureOf(at) ?? []);
  if (stays !== undefined) throw stays;
  fs.rmSync(told, { force: true });
}

/** @returns where the tree is now */
function makeWay(revs: string, release: ReleaseId): string {
  const tree = path.join(revs, release);
  const isFolder = fs.lstatSync(tree, { throwIfNoEntry: false })?.isDirectory() === true;
  if (!isFolder || !existsSync(installsDir(revs))) return tree;
  const aside = asideDir(revs, release);
  try {
    fs.chmodSync(tree, 0o700);
    fs.renameSync(tree, aside);
    return aside;
  } catch (err) {
    // A folder of an image's lower layer goes where it is.
    if (["EXDEV", "EBUSY"].includes(errnoOf(err) ?? "")) return tree;
    throw notRemoved(tree, err);
  }
}

function failureOf(tree: string): SkeinError | undefined {
  try {
    removeTree(tree);
    return undefined;
  } catch (err) {
    if (err instanceof SkeinError) return err;
    throw err;
  }
}

/** Releases of which there is something here and no install: begun and not ended, or not removed to the end. */
export async function listLeft(revs: string): Promise<readonly ReleaseId[]> {
  const installed = await listInstalls(revs);
  const begun = namesIn(installsDir(revs)).flatMap((name) => releaseIn(name) ?? []);
  const left = new Set([...namesIn(revs).filter(isReleaseId), ...begun]);
  return [...left].filter((id) => !installed.includes(id));
}

/**
 * Removes what is left of a release. Whoever listed it may come to it much later, and it may be an install by then.
 * @returns false where it is one: it stays
 */
export async function removeLeftOf(revs: string, release: ReleaseId): Promise<boolean> {
  if (!(await listLeft(revs)).includes(release)) return false;
  await removeInstall(revs, release);
  return true;
}

function begunOf(installs: string, release: ReleaseId): readonly string[] {
  const names = namesIn(installs).filter((name) => releaseIn(name) === release);
  return names.map((name) => path.join(installs, name));
}

const namesIn = (dir: string): readonly string[] => (existsSync(dir) ? readdirSync(dir) : []);
