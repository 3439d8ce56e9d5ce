import { ListBound } from "../list-bound.ts";
import type { S3Bucket } from "./bucket.ts";
import { childrenIn, textIn, type Element } from "./xml.ts";

export interface Listed {
  /** Without the bucket's prefix. */
  readonly key: string;
  readonly sizeBytes: number;
  readonly modifiedMs: number;
  /** As the server gives it, without quotes. */
  readonly etag: string;
}

/** Objects under a prefix by pages of at most 1,000, sorted by the bytes of their keys. @throws SkeinError LIST_ENDLESS */
export async function* pagesOf(
  bucket: S3Bucket,
  prefix: string,
  signal: AbortSignal,
  after = "",
): AsyncGenerator<readonly Listed[], void> {
  const query = {
    "list-type": "2",
    "encoding-type": "url",
    prefix: bucket.prefix + prefix,
    ...(after === "" ? {} : { "start-after": bucket.prefix + after }),
  };
  const bound = new ListBound(bucket.name);
  for (let token = ""; ;) {
    const more = token === "" ? {} : { "continuation-token": token };
    const page = await bucket.askXml({ method: "GET", query: { ...query, ...more }, signal });
    const entries = childrenIn(page, "Contents");
    bound.page(entries.length);
    yield entries.map((entry) => listed(entry, bucket.prefix));
    if (textIn(page, "IsTruncated") !== "true") return;
    const next = textIn(page, "NextContinuationToken");
    // A server that promises more and does not say where would keep us here for ever.
    if (next === "" || next === token) return;
    token = next;
  }
}

/** What `encoding-type=url` encoded: a form's encoding, where + is a space. */
export const decodeKey = (text: string): string => decodeURIComponent(text.replaceAll("+", "%20"));

function listed(entry: Element, prefix: string): Listed {
  return {
    key: decodeKey(textIn(entry, "Key")).slice(prefix.length),
    sizeBytes: Number(textIn(entry, "Size")),
    modifiedMs: Date.parse(textIn(entry, "LastModified")),
    etag: textIn(entry, "ETag").replaceAll('"', ""),
  };
}
