import type { Dirent } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";
import { packageNamed, type Package } from "../../bucket/layout.ts";
import { errnoOf, SkeinError } from "../../lib/errors/errors.ts";
import { asSkeinError } from "../../lib/disk/files.ts";
import type { AppFolders } from "../installs/folders.ts";

/**
 * A package that this machine subscribes to is a folder of the root, as with FTL: `revs/`, `current` and `.lock` are
 * in it, and `.skein/` with everything that is Skein's own. Each package keeps its own state, so that one that is
 * damaged, or busy, holds up no other.
 */
export interface PackagePlace {
  readonly package: Package;
  readonly folders: AppFolders;
  /** `.skein` in the package: readable for its scripts, which have their home in it. */
  readonly own: string;
  /** What the node knows and has promised; for its user alone. */
  readonly state: string;
  readonly logs: string;
}

/** The root's own folder: what is the same for all packages. */
export const rootFolder = (root: string): string => path.join(root, ".skein");

export function packagePlace(root: string, name: string): PackagePlace {
  const app = path.join(root, name);
  const own = path.join(app, ".skein");
  return {
    package: packageNamed(name),
    folders: {
      root,
      app,
      revs: path.join(app, "revs"),
      current: path.join(app, "current"),
      data: path.join(own, "data"),
    },
    own,
    state: path.join(own, "state"),
    logs: path.join(own, "log"),
  };
}

export interface Subscriptions {
  readonly places: readonly PackagePlace[];
  /** Folders that no package can be called like. */
  readonly strange: readonly string[];
  /** Links to what is another package's folder already: two would take each other's revisions for their own. */
  readonly doubles: readonly { readonly name: string; readonly of: string }[];
}

/**
 * Every folder of the root is a package that is wanted here; files and dotted names are nobody's.
 * @throws SkeinError NOT_FOUND when there is no root
 */
export async function subscriptions(root: string): Promise<Subscriptions> {
  const places: PackagePlace[] = [];
  const strange: string[] = [];
  const doubles: { name: string; of: string }[] = [];
  /** Real folder → package. */
  const taken = new Map<string, string>();
  for (const { name } of ownFirst(await entriesOf(root))) {
    const real = name.startsWith(".") ? undefined : await realFolder(path.join(root, name));
    if (real === undefined) continue;
    const of = taken.get(real);
    if (of !== undefined) doubles.push({ name, of });
    else if (!isPackage(name)) strange.push(name);
    else places.push(packagePlace(root, name));
    taken.set(real, of ?? name);
  }
  places.sort((a, b) => (a.package.name < b.package.name ? -1 : 1));
  return { places, strange, doubles };
}

/** Folders before links, each by name: a folder is its own package's, whatever else leads to it. */
function ownFirst(entries: readonly Dirent[]): readonly Dirent[] {
  const rank = (entry: Dirent): string => `${entry.isSymbolicLink() ? 1 : 0}${entry.name}`;
  return entries.toSorted((a, b) => (rank(a) < rank(b) ? -1 : 1));
}

function isPackage(name: string): boolean {
  try {
    packageNamed(name);
    return true;
  } catch {
    return false;
  }
}

/**
 * The subscribed package that a person means: by its folder's name, or by the app's.
 * @throws SkeinError NOT_FOUND
 */
export async function subscribed(root: string, wanted: Package): Promise<PackagePlace> {
  const { places } = await subscriptions(root);
  const own = places.filter((place) => place.package.app === wanted.app);
  const found = own.find((place) => place.package.name === wanted.name) ?? own[0];
  if (found !== undefined) return found;
  throw new SkeinError("NOT_FOUND", `this machine does not subscribe to ${wanted.name}`, {
    hint: `Subscribe with: mkdir ${path.join(root, wanted.name)}`,
    data: { package: wanted.name, root },
  });
}

async function entriesOf(root: string): Promise<Dirent[]> {
  try {
    return await fs.readdir(root, { withFileTypes: true });
  } catch (err) {
    const errno = errnoOf(err);
    if (errno !== "ENOENT" && errno !== "ENOTDIR") throw asSkeinError(err, root);
    throw new SkeinError("NOT_FOUND", `there is no folder ${root}`, {
      hint: "Make it, and in it a folder for each package that this machine is to have.",
      data: { root },
    });
  }
}

async function realFolder(at: string): Promise<string | undefined> {
  const stat = await fs.stat(at).catch(() => undefined);
  return stat?.isDirectory() === true ? await fs.realpath(at) : undefined;
}
