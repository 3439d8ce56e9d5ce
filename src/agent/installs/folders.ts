import { constants, lstatSync, rmSync, statSync } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";
import { errnoOf, SkeinError } from "../../lib/errors/errors.ts";
import { replaceSymlink, syncDirectory } from "../../lib/disk/files.ts";
import { isReleaseId, type ReleaseId } from "../../lib/text/ids.ts";
import type { Paths } from "../../lib/disk/paths.ts";
import { installsDir } from "../../release/record/install-record.ts";
import type { RunAs } from "../programs/command.ts";

/** Where one app is on this node. */
export interface AppFolders {
  /** `<lib>/apps`: what FTL calls its root. */
  readonly root: string;
  readonly app: string;
  readonly revs: string;
  /** The symlink that names the active revision. */
  readonly current: string;
  /** Outlives releases; the app's HOME. */
  readonly data: string;
}

export function appFolders(paths: Paths, app: string): AppFolders {
  const root = path.join(paths.lib, "apps");
  const dir = path.join(root, app);
  return {
    root,
    app: dir,
    revs: path.join(dir, "revs"),
    current: path.join(dir, "current"),
    data: path.join(dir, "data"),
  };
}

/**
 * The app's folders, with a data folder for its user alone: what is there already stays whose it is (`own-data.ts`).
 * @param user its first owner
 */
export async function makeAppFolders(folders: AppFolders, user: RunAs | undefined): Promise<void> {
  const begun = making.get(folders.data);
  if (begun !== undefined) return await begun;
  const work = makeAlone(folders, user).finally(() => making.delete(folders.data));
  making.set(folders.data, work);
  await work;
}

/** By the data folder: two releases of an app, one deployed and one staged, may be the first at the same time. */
const making = new Map<string, Promise<void>>();

async function makeAlone(folders: AppFolders, user: RunAs | undefined): Promise<void> {
  await fs.mkdir(folders.revs, { recursive: true, mode: 0o755 });
  if ((await fs.stat(folders.data).catch(() => undefined)) !== undefined) return;
  const fresh = `${folders.data}.new`;
  await fs.mkdir(fresh, { recursive: true, mode: 0o700 });
  if (user !== undefined) await fs.chown(fresh, user.uid, user.gid);
  await syncDirectory(fresh);
  await fs.rename(fresh, folders.data);
  await syncDirectory(folders.app);
}

/**
 * Where `writable` paths lead: folders in the app's data folder, made when they are not there; whose that is, theirs
 * they are. Path in the tree to absolute target; one that lies in another is there by that.
 */
export async function writableTargets(
  folders: AppFolders,
  writable: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const targets = new Map<string, string>();
  for (const name of writable) {
    const parts = name.split("/").filter((piece) => piece !== "");
    await makeOwned(folders.data, parts);
    targets.set(parts.join("/"), path.join(folders.data, ...parts));
  }
  const isOuter = (at: string): boolean => ![...targets.keys()].some((other) => at.startsWith(`${other}/`));
  return new Map([...targets].filter(([at]) => isOuter(at)));
}

/** The release that `current` names, or null. */
export async function readCurrent(folders: AppFolders): Promise<ReleaseId | null> {
  const id = path.basename((await targetOf(folders.current)) ?? "");
  return isReleaseId(id) ? id : null;
}

/**
 * Points `current` at a release in one step. null: at what it was before the first of them, if somebody else had pointed
 * it anywhere (FTL at a revision of its own); else it is removed.
 */
export async function flipCurrent(folders: AppFolders, release: ReleaseId | null): Promise<void> {
  const now = await targetOf(folders.current);
  const foreign = foreignFile(folders);
  if (release !== null) {
    if (now !== null && !isReleaseId(path.basename(now))) await replaceSymlink(now, foreign);
    else if (now !== null && now !== path.join("revs", release)) await fs.rm(foreign, { force: true });
    await replaceSymlink(path.join("revs", release), folders.current);
    return;
  }
  const before = await targetOf(foreign);
  if (before === null) {
    await fs.rm(folders.current, { force: true });
    await syncDirectory(folders.app);
    return;
  }
  await replaceSymlink(before, folders.current);
}

/** A link to what `current` led to when it was not ours yet. */
const foreignFile = ({ revs }: AppFolders): string => path.join(installsDir(revs), "current.before");

const targetOf = async (link: string): Promise<string | null> => await fs.readlink(link).catch(() => null);

/**
 * An app's own user must be able to reach its files.
 * @throws SkeinError USER_REFUSED naming the folder that it may not enter
 */
export function refuseUnreachable(dir: string): void {
  for (let at = dir; at !== path.dirname(at); at = path.dirname(at)) {
    if ((statSync(at).mode & 0o001) !== 0) continue;
    throw new SkeinError("USER_REFUSED", `apps run as users of their own, and those may not enter ${at}`, {
      hint: `Run chmod o+x ${at}, or keep SKEIN_HOME elsewhere.`,
      data: { path: at },
    });
  }
}

/**
 * Makes folders in the app's own data, one in the other. The app may write there while this runs, so each step begins
 * at a folder that is held open: a path would be looked up anew, through whatever link the app has laid meanwhile.
 */
async function makeOwned(data: string, parts: readonly string[]): Promise<void> {
  let dir = data;
  let held = await openFolder(dir, dir);
  const { uid, gid } = await held.stat();
  try {
    for (const part of parts) {
      const inside = process.platform === "linux" ? `/proc/self/fd/${held.fd}/${part}` : path.join(dir, part);
      dir = path.join(dir, part);
      await fs.mkdir(inside, { mode: 0o700 }).catch((err: unknown) => {
        if (errnoOf(err) !== "EEXIST") throw err;
      });
      const next = await openFolder(inside, dir);
      await held.close();
      held = next;
      if (process.getuid?.() === 0 && (await held.stat()).uid !== uid) await held.chown(uid, gid);
    }
  } finally {
    await held.close();
  }
}

/** @throws SkeinError USER_REFUSED when it is no folder, or a link to one */
async function openFolder(at: string, dir: string): Promise<fs.FileHandle> {
  try {
    return await fs.open(at, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  } catch (err) {
    if (errnoOf(err) !== "ENOTDIR" && errnoOf(err) !== "ELOOP") throw err;
    throw new SkeinError("USER_REFUSED", `${dir} is to be a writable folder, and something else is there`, {
      cause: err,
    });
  }
}

/** Whether a release has its folder. What lies in its place and is none makes way for it. */
export function isFolderHere(dir: string): boolean {
  if (lstatSync(dir, { throwIfNoEntry: false })?.isDirectory() === true) return true;
  rmSync(dir, { force: true });
  return false;
}
