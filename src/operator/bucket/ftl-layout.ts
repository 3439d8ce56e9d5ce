import path from "node:path";
import { topText, type BucketFiles } from "../../bucket/files.ts";
import { packageOfFile } from "../../bucket/layout.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";
import { bytesBlob } from "../../release/fetch/blobs.ts";
import type { Release } from "../../trust/document/documents.ts";
import { ftlArchive } from "./ftl-archive.ts";

/**
 * What FTL's own clients read at the top of a bucket: `PKG.REV.tar.gz` for each revision, and what names the active
 * one: `PKG.rev` for its first versions, `PKG.current` and `PKG.previous` for those since. Unsigned, and read by nobody
 * but them.
 * @returns whether they take some revision for active
 */
export async function writeFtlRevision(
  files: BucketFiles,
  spooled: { readonly file: string; readonly package: string; readonly revision: string },
  signal: AbortSignal,
): Promise<boolean> {
  const { file, revision } = spooled;
  const given = path.basename(file).slice(spooled.package.length);
  const suffix = given === ".tgz" ? ".tar.gz" : given;
  const archive = await ftlArchive(file, revision, signal);
  await files.put(`${spooled.package}.${revision}${suffix}`, archive, signal);
  // Nothing is activated by spooling: that something may be has only to be there.
  const active = await activeOf(files, spooled.package, signal);
  if (active === undefined) await putActive(files, spooled.package, "", signal);
  return active !== undefined && active !== "";
}

/**
 * Tells FTL's own clients what is active. Done again it changes nothing.
 * @returns whether the package has any
 */
export async function writeFtlActive(
  files: BucketFiles,
  { source }: Pick<Release, "source">,
  revision: string,
  signal: AbortSignal,
): Promise<boolean> {
  const name = packageNameOf(source.name);
  const was = name === undefined ? undefined : await activeOf(files, name, signal);
  if (name === undefined || was === undefined) return false;
  const active = `${name}.${revision}`;
  if (was !== active && was !== "") await putMark(files, name, "previous", was, signal);
  await putActive(files, name, active, signal);
  return true;
}

/** Whether FTL's own clients can have a revision. */
export async function hasFtlRevision(
  files: BucketFiles,
  { source }: Pick<Release, "source">,
  revision: string,
  signal: AbortSignal,
): Promise<boolean> {
  const name = packageNameOf(source.name);
  return name !== undefined && (await files.list(`${name}.${revision}.`, signal)).length > 0;
}

/** Takes a revision that was purged from FTL's own clients, too. */
export async function removeFtlRevision(
  files: BucketFiles,
  { source }: Pick<Release, "source">,
  revision: string,
  signal: AbortSignal,
): Promise<void> {
  const name = packageNameOf(source.name);
  if (name === undefined || (await activeOf(files, name, signal)) === undefined) return;
  for (const file of await files.list(`${name}.${revision}.`, signal)) await files.delete(file, signal);
}

/** As the file was called that the release was made of. */
function packageNameOf(sourceName: string): string | undefined {
  try {
    return packageOfFile(sourceName).name;
  } catch (err) {
    if (isSkeinError(err, "USAGE")) return undefined;
    throw err;
  }
}

/** What FTL's clients take for active; empty: nothing; undefined: nobody wrote this package for them. */
async function activeOf(files: BucketFiles, name: string, signal: AbortSignal): Promise<string | undefined> {
  const current = await topText(files, `${name}.current`, signal);
  const rev = await topText(files, `${name}.rev`, signal);
  return current === undefined || current === "" ? (rev ?? current) : current;
}

/** For FTL's first versions, and for those since. */
async function putActive(files: BucketFiles, name: string, text: string, signal: AbortSignal): Promise<void> {
  for (const mark of ["rev", "current"]) await putMark(files, name, mark, text, signal);
}

async function putMark(
  files: BucketFiles,
  name: string,
  mark: string,
  text: string,
  signal: AbortSignal,
): Promise<void> {
  await files.put(`${name}.${mark}`, bytesBlob(Buffer.from(text)), signal);
}
