import path from "node:path";
import { packageOfFile } from "../../bucket/layout.ts";
import { blobOfFile, type BucketFiles } from "../../bucket/files.ts";
import { isSkeinError } from "../../lib/errors.ts";
import { bytesBlob } from "../../release/blobs.ts";
import type { Release } from "../../trust/documents.ts";

/**
 * What FTL's own clients read at the top of a bucket: `PKG.REV.tar.gz` for each revision, and `PKG.rev`, which names
 * the active one. Unsigned, and read by nobody but them.
 */
export async function writeFtlRevision(
  files: BucketFiles,
  spooled: { readonly file: string; readonly package: string; readonly revision: string },
  signal: AbortSignal,
): Promise<void> {
  const { file, revision } = spooled;
  const given = path.basename(file).slice(spooled.package.length);
  const suffix = given === ".tgz" ? ".tar.gz" : given;
  await files.put(`${spooled.package}.${revision}${suffix}`, await blobOfFile(file, signal), signal);
  // Nothing is activated by spooling: the list of what is active only has to be there.
  if (await hasActive(files, spooled.package, signal)) return;
  await putActive(files, spooled.package, "", signal);
}

/** Tells FTL's own clients what is active, where the package has any. */
export async function writeFtlActive(
  files: BucketFiles,
  { source }: Pick<Release, "source">,
  revision: string,
  signal: AbortSignal,
): Promise<void> {
  const name = packageNameOf(source.name);
  if (name === undefined || !(await hasActive(files, name, signal))) return;
  await putActive(files, name, `${name}.${revision}`, signal);
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

async function hasActive(files: BucketFiles, name: string, signal: AbortSignal): Promise<boolean> {
  try {
    for await (const _piece of files.get(`${name}.rev`, signal)) break;
    return true;
  } catch (err) {
    if (isSkeinError(err, "BLOB_MISSING")) return false;
    throw err;
  }
}

async function putActive(files: BucketFiles, name: string, text: string, signal: AbortSignal): Promise<void> {
  await files.put(`${name}.rev`, bytesBlob(Buffer.from(text)), signal);
}
