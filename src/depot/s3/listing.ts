import { SkeinError } from "../../lib/errors/errors.ts";
import { ListBound } from "../seam/list-bound.ts";
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
    // What is missing is not known: whoever took this for all would give up what is kept.
    if (next === "" || next === token) throw cutOff(bucket.name);
    token = next;
  }
}

function cutOff(name: string): SkeinError {
  return new SkeinError("DEPOT_REFUSED", `${name}: a list goes on, and the server does not say where`, {
    hint: "Skein lists by ListObjectsV2, which a server of S3's has to know.",
    data: { depot: name },
  });
}

/** What `encoding-type=url` encoded: a form's encoding, where + is a space. Not every server does so: then it is as it is. */
export function decodeKey(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll("+", "%20"));
  } catch (err) {
    if (err instanceof URIError) return text;
    throw err;
  }
}

function listed(entry: Element, prefix: string): Listed {
  return {
    key: decodeKey(textIn(entry, "Key")).slice(prefix.length),
    sizeBytes: Number(textIn(entry, "Size")),
    modifiedMs: Date.parse(textIn(entry, "LastModified")),
    etag: textIn(entry, "ETag").replaceAll('"', ""),
  };
}
