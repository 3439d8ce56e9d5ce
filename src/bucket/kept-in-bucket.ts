import type { DocumentStore } from "../depot/seam/documents.ts";
import type { PublishedTree } from "../release/tree/published.ts";
import { readUnverified } from "../trust/document/envelope.ts";
import { namesUnder, readOrderEntry, readSigned } from "./entries.ts";
import { ORDERS, orderPlaceOf, releasePlaceOf, RELEASES } from "./layout.ts";

/** Documents that are read at once. */
const AT_ONCE = 16;

/**
 * The trees that a bucket's depot must hold: of every release that has a document there, and of every one that an
 * order there names. A release goes when it is purged and no order of the newest 100 names it.
 * @throws SkeinError DOC_MALFORMED where a document cannot be read: what it needs is not known
 */
export async function* keptInBucket(
  documents: DocumentStore,
  signal: AbortSignal,
): AsyncGenerator<PublishedTree, void> {
  const releases = (await namesUnder(documents, RELEASES, signal)).filter((name) => releasePlaceOf(name));
  yield* treesOf(releases, async (name) => {
    const envelope = await readSigned(documents, name, signal);
    return envelope === undefined ? [] : [readUnverified(envelope, "release.1")];
  });
  const orders = (await namesUnder(documents, ORDERS, signal)).filter((name) => orderPlaceOf(name));
  yield* treesOf(orders, async (name) => {
    const entry = await readOrderEntry(documents, name, signal);
    return entry?.releases.map((release) => readUnverified(release, "release.1")) ?? [];
  });
}

async function* treesOf(
  names: readonly string[],
  read: (name: string) => Promise<readonly PublishedTree[]>,
): AsyncGenerator<PublishedTree, void> {
  for (let at = 0; at < names.length; at += AT_ONCE) {
    const trees = await Promise.all(names.slice(at, at + AT_ONCE).map(read));
    yield* trees.flat();
  }
}
