import { checkBlobName } from "../seam/blob-name.ts";
import type { PrunableDepot } from "../seam/depot.ts";
import type { S3Bucket } from "./bucket.ts";
import { DOWNLOAD, download, type DownloadOptions } from "./download.ts";
import { pagesOf } from "./listing.ts";
import { sweepLeftOvers, UPLOAD, upload, type UploadOptions } from "./upload.ts";

export interface S3DepotOptions {
  readonly upload?: UploadOptions;
  readonly download?: DownloadOptions;
}

const AT_ONCE = 16;

/**
 * Blobs as objects of a bucket: blob `packs/ID` is the object `PREFIX + folder + packs/ID`.
 * @param folder what names begin with in the bucket, after its prefix; "" or ends with `/`
 */
export function s3Depot(bucket: S3Bucket, folder: string, options: S3DepotOptions = {}): PrunableDepot {
  const keyOf = (name: string): string => {
    checkBlobName(name);
    return folder + name;
  };
  return {
    kind: "bucket",
    name: bucket.name,
    has: async (names, signal) => {
      for (const name of names) checkBlobName(name);
      return await has(bucket, folder, [...new Set(names)].sort(), signal);
    },
    get: (name, signal, range) => download(bucket, keyOf(name), signal, range, options.download ?? DOWNLOAD),
    async *list(prefix, signal) {
      for await (const page of pagesOf(bucket, folder + prefix, signal)) {
        yield* page.map(({ key }) => key.slice(folder.length));
      }
    },
    async *entries(prefix, signal) {
      for await (const page of pagesOf(bucket, folder + prefix, signal)) {
        yield* page.map(({ key, sizeBytes }) => ({ name: key.slice(folder.length), sizeBytes }));
      }
    },
    put: async (name, blob, signal) => {
      signal.throwIfAborted();
      await upload(bucket, keyOf(name), blob, signal, options.upload ?? UPLOAD);
    },
    delete: async (name, signal) => {
      await bucket.tell({ method: "DELETE", key: keyOf(name), accept: [404], signal });
    },
    sweepUploads: async (olderThanMs, nowMs, signal) =>
      await sweepLeftOvers(bucket, folder, nowMs - olderThanMs, signal),
    rename: async (from, to, signal) => {
      const headers = { "x-amz-copy-source": bucket.copySource(keyOf(from)) };
      await bucket.askXml({ method: "PUT", key: keyOf(to), headers, signal });
      await bucket.tell({ method: "DELETE", key: keyOf(from), accept: [404], signal });
    },
  };
}

/**
 * Which of these (sorted) are there: from the list while that needs no more requests than asking for each would, and
 * by asking for the rest. Names are spread evenly, so a page of the list often tells of very many at once.
 */
async function has(
  bucket: S3Bucket,
  folder: string,
  names: readonly string[],
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  const pages = Math.floor(names.length / AT_ONCE);
  const todo = pages === 0 ? [...names] : await fromList(bucket, folder, names, pages, found, signal);
  const work = async (): Promise<void> => {
    for (let name = todo.shift(); name !== undefined; name = todo.shift()) {
      if (await isThere(bucket, folder + name, signal)) found.add(name);
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, todo.length) }, work));
  return found;
}

/** Adds to `found` what at most so many pages of the list show. @returns the names that lie beyond them */
async function fromList(
  bucket: S3Bucket,
  folder: string,
  names: readonly string[],
  maxPages: number,
  found: Set<string>,
  signal: AbortSignal,
): Promise<string[]> {
  const first = names[0] ?? "";
  const wanted = new Set(names);
  const shared = folder + commonStart(first, names.at(-1) ?? "");
  let pages = 0;
  for await (const page of pagesOf(bucket, shared, signal, (folder + first).slice(0, -1))) {
    const listed = page.map(({ key }) => key.slice(folder.length));
    for (const name of listed) if (wanted.has(name)) found.add(name);
    const last = listed.at(-1) ?? "";
    if (++pages < maxPages) continue;
    return names.filter((name) => name > last);
  }
  return [];
}

function commonStart(a: string, b: string): string {
  let length = 0;
  while (length < a.length && a[length] === b[length]) length += 1;
  return a.slice(0, length);
}

async function isThere(bucket: S3Bucket, key: string, signal: AbortSignal): Promise<boolean> {
  const { status } = await bucket.tell({ method: "HEAD", key, accept: [404], signal });
  return status !== 404;
}
