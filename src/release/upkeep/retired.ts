import type { ByteRange, DepotReader } from "../../depot/seam/depot.ts";
import { readBy } from "../../depot/seam/read-by.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";

/**
 * A reader that also finds blobs which a collection took out of use a moment before their release was written
 * (collect.ts): they get their name back with the next run, and until then nobody need wait. Not for publishing:
 * what is out of use counts as absent there.
 */
export function seesRetired(depot: DepotReader): DepotReader {
  return readBy(depot, async function* (name, signal, range) {
    let begun = false;
    try {
      for await (const piece of depot.get(name, signal, range)) {
        begun = true;
        yield piece;
      }
    } catch (err) {
      if (begun || !isSkeinError(err, "BLOB_MISSING")) throw err;
      yield* retired(depot, name, signal, range, err);
    }
  });
}

async function* retired(
  depot: DepotReader,
  name: string,
  signal: AbortSignal,
  range: ByteRange | undefined,
  missing: unknown,
): AsyncGenerator<Uint8Array, void> {
  for await (const place of depot.list("retired/", signal)) {
    if (!place.endsWith(`/${name}`)) continue;
    yield* depot.get(place, signal, range);
    return;
  }
  throw missing;
}
