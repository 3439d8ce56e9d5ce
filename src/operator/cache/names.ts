import fs from "node:fs/promises";
import path from "node:path";
import * as z from "zod";
import { errnoOf, SkeinError } from "../../lib/errors/errors.ts";
import { jsonIn } from "../../lib/text/json.ts";
import { readIfThere, writeFileAtomic } from "../../lib/disk/files.ts";
import type { Digest, TreeId } from "../../lib/text/ids.ts";
import type { Paths } from "../../lib/disk/paths.ts";
import { digest, treeId } from "../../trust/document/fields.ts";

/** What was put into this machine's cache, by the name that it goes by: an app's, a folder's, a release's. */
export interface CachedName {
  readonly name: string;
  readonly tree: TreeId;
  readonly rows: Digest;
  readonly since: Digest | null;
}

const entry = z.strictObject({ tree: treeId, rows: digest, since: digest.nullable() });
const NAME = /^[a-z0-9][a-z0-9._@-]{0,99}$/;

const folderOf = (paths: Paths): string => path.join(paths.lib, "cache-names");
const fileOf = (paths: Paths, name: string): string => path.join(folderOf(paths), `${name}.json`);

/** Written after what it names is in the cache. */
export async function keepName(paths: Paths, { name, tree, rows, since }: CachedName): Promise<void> {
  await fs.mkdir(folderOf(paths), { recursive: true, mode: 0o700 });
  await writeFileAtomic(fileOf(paths, name), JSON.stringify({ tree, rows, since }));
}

export async function cachedNames(paths: Paths): Promise<readonly CachedName[]> {
  const files = await fs.readdir(folderOf(paths)).catch((err: unknown) => {
    if (errnoOf(err) === "ENOENT") return [];
    throw err;
  });
  const found: CachedName[] = [];
  for (const file of files.filter((name) => name.endsWith(".json")).sort()) {
    const known = await nameIfThere(paths, file.slice(0, -".json".length));
    if (known !== undefined) found.push(known);
  }
  return found;
}

export async function nameIfThere(paths: Paths, name: string): Promise<CachedName | undefined> {
  if (!NAME.test(name)) throw new SkeinError("USAGE", `${name} is no name of anything in a cache`);
  const text = await readIfThere(fileOf(paths, name));
  const parsed = entry.safeParse(text === undefined ? undefined : jsonIn(text));
  return parsed.success ? { name, ...parsed.data } : undefined;
}

export async function forgetName(paths: Paths, name: string): Promise<void> {
  await fs.rm(fileOf(paths, name), { force: true });
}
