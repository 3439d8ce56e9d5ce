import type { ReleaseView } from "../api/schemas.ts";
import { isSkeinError } from "../lib/errors/errors.ts";
import { readBlob } from "../release/fetch/blobs.ts";
import { indexName } from "../release/tree/release-index.ts";
import { readUnverified } from "../trust/document/envelope.ts";
import type { Hub } from "./hub.ts";

/** A longer index is asked for by itself, in bytes. Of one in a bucket no more is read: who writes there may make it endless. */
const MOST_INDEX_BYTES = 64 * 1024;

/** A release with its tree's index, where there is one and it is small: whoever releases the app next begins with that. */
export async function viewWithIndex(
  { core }: Pick<Hub, "core">,
  view: ReleaseView,
  signal: AbortSignal,
): Promise<ReleaseView> {
  const { tree } = readUnverified(view.release, "release.1");
  try {
    const index = await readBlob(core.depot, indexName(tree), MOST_INDEX_BYTES, signal);
    return { ...view, index: index.toString("base64") };
  } catch (err) {
    if (isSkeinError(err, "BLOB_MISSING", "PACK_CORRUPT")) return view;
    throw err;
  }
}
