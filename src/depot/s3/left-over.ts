import { isSkeinError } from "../../lib/errors/errors.ts";
import { ListBound } from "../seam/list-bound.ts";
import type { S3Bucket } from "./bucket.ts";
import { decodeKey } from "./listing.ts";
import { childrenIn, textIn } from "./xml.ts";

/** An upload that was begun and not completed, with the digests (MD5) of parts 1, 2, … as far as they arrived. */
export interface LeftOver extends LeftParts {
  readonly id: string;
}

export interface LeftParts {
  readonly etags: readonly string[];
  readonly partBytes: number;
}

export interface Part {
  readonly number: number;
  readonly etag: string;
}

/** The newest upload of this object that nobody completed; undefined also where they may not be listed. */
export async function leftOver(
  bucket: S3Bucket,
  key: string,
  signal: AbortSignal,
): Promise<LeftOver | undefined> {
  let newest: Begun | undefined;
  try {
    for await (const begun of uploadsUnder(bucket, key, signal)) {
      if (begun.key === key && begun.begunMs >= (newest?.begunMs ?? 0)) newest = begun;
    }
    return newest === undefined ? undefined : await partsOf(bucket, key, newest.id, signal);
  } catch (err) {
    if (isSkeinError(err, "DEPOT_DENIED", "DEPOT_REFUSED", "BLOB_MISSING")) return undefined;
    throw err;
  }
}

interface Begun {
  readonly key: string;
  readonly id: string;
  readonly begunMs: number;
}

export async function* uploadsUnder(
  bucket: S3Bucket,
  prefix: string,
  signal: AbortSignal,
): AsyncGenerator<Begun, void> {
  const query = { uploads: "", "encoding-type": "url", prefix: bucket.prefix + prefix };
  const bound = new ListBound(bucket.name);
  for (let marker: Record<string, string> = {}; ;) {
    const page = await bucket.askXml({ method: "GET", query: { ...query, ...marker }, signal });
    const uploads = childrenIn(page, "Upload");
    bound.page(uploads.length);
    for (const upload of uploads) {
      const key = decodeKey(textIn(upload, "Key")).slice(bucket.prefix.length);
      yield { key, id: textIn(upload, "UploadId"), begunMs: Date.parse(textIn(upload, "Initiated")) };
    }
    const next = textIn(page, "NextKeyMarker");
    if (textIn(page, "IsTruncated") !== "true" || next === "") return;
    marker = { "key-marker": decodeKey(next), "upload-id-marker": textIn(page, "NextUploadIdMarker") };
  }
}

/** Parts from the first on as far as they all have one size. */
async function partsOf(
  bucket: S3Bucket,
  key: string,
  uploadId: string,
  signal: AbortSignal,
): Promise<LeftOver> {
  const etags: string[] = [];
  let partBytes = 0;
  for await (const { number, size, etag } of listedParts(bucket, key, uploadId, signal)) {
    if (etags.length === 0) partBytes = size;
    if (number !== etags.length + 1 || size !== partBytes) break;
    etags.push(etag);
  }
  return { id: uploadId, etags, partBytes };
}

interface ListedPart extends Part {
  readonly size: number;
}

/** By pages of at most 1,000, in the order of their numbers. */
async function* listedParts(
  bucket: S3Bucket,
  key: string,
  uploadId: string,
  signal: AbortSignal,
): AsyncGenerator<ListedPart, void> {
  for (let last = 0; ;) {
    const marker = last === 0 ? {} : { "part-number-marker": String(last) };
    const page = await bucket.askXml({ method: "GET", key, query: { uploadId, ...marker }, signal });
    const parts = childrenIn(page, "Part").map((part) => ({
      number: Number(textIn(part, "PartNumber")),
      size: Number(textIn(part, "Size")),
      etag: textIn(part, "ETag").replaceAll('"', ""),
    }));
    yield* parts;
    const next = parts.at(-1)?.number ?? Number.NaN;
    // A server that goes in circles is not followed: what was not learnt is sent again.
    if (textIn(page, "IsTruncated") !== "true" || !(next > last)) return;
    last = next;
  }
}
