import type { DocumentEntry, DocumentStore, StoredDocument } from "../depot/seam/documents.ts";
import { systemClock } from "../lib/time/clock.ts";
import { isSkeinError } from "../lib/errors/errors.ts";
import { charterName, orderPlaceOf, releasePlaceOf, ROOT_NAME } from "./layout.ts";
import { parseRoot } from "./root.ts";

/** A root that lies leads to no more reads than so many in a listing. */
const MOST_LOOKED_FOR = 100;

/**
 * Documents of a server whose listings may be late, as Swift's are at times, while what is read by its name is as it was
 * written. Whoever wrote a root by such a listing would leave out what itself, or somebody before it, had just
 * published. So of what was written or removed here, and of what a root named that was read here, a listing says what a
 * read says. Nothing more is asked where listings are right.
 */
export function withLateListing(store: DocumentStore): DocumentStore {
  const written = new Set<string>();
  const removed = new Set<string>();
  let named: readonly string[] = [];

  /** What is to be under a prefix, sorted as listings are. */
  const expected = (prefix: string): string[] =>
    [...new Set([...written, ...named])]
      .filter((name) => name.startsWith(prefix) && !removed.has(name))
      .sort((a, b) => (a < b ? -1 : 1));

  return {
    ...store,
    async read(name, etag, signal) {
      const found = await store.read(name, etag, signal);
      if (name === ROOT_NAME && found !== undefined && found !== "same") named = namesIn(found);
      return found;
    },
    async write(name, bytes, condition, signal) {
      const etag = await store.write(name, bytes, condition, signal);
      written.add(name);
      removed.delete(name);
      return etag;
    },
    async delete(name, signal) {
      await store.delete(name, signal);
      written.delete(name);
      removed.add(name);
    },
    async *list(prefix, signal) {
      const missing = expected(prefix);
      let looks = MOST_LOOKED_FOR;
      const lookFor = async (name: string): Promise<readonly DocumentEntry[]> =>
        written.has(name) || looks-- > 0 ? await entriesOf(store, name, signal) : [];
      for await (const entry of store.list(prefix, signal)) {
        while (missing[0] !== undefined && missing[0] < entry.name)
          yield* await lookFor(missing.shift() ?? "");
        if (missing[0] === entry.name) missing.shift();
        yield* removed.has(entry.name) ? await entriesOf(store, entry.name, signal) : [entry];
      }
      for (const name of missing) yield* await lookFor(name);
    },
  };
}

/** The document, where it is there. */
async function entriesOf(
  store: DocumentStore,
  name: string,
  signal: AbortSignal,
): Promise<readonly DocumentEntry[]> {
  const found = await store.read(name, undefined, signal);
  if (found === undefined || found === "same") return [];
  return [{ name, sizeBytes: found.bytes.length, modifiedMs: systemClock.now(), etag: found.etag }];
}

function namesIn({ bytes }: StoredDocument): readonly string[] {
  try {
    const { charter, apps } = parseRoot(bytes);
    const ofApps = Object.values(apps).flatMap(({ releases, orders }) => [
      ...releases.newest.filter((name) => releasePlaceOf(name) !== undefined),
      ...Object.values(orders).filter((name) => orderPlaceOf(name) !== undefined),
    ]);
    return charter === 0 ? ofApps : [charterName(charter), ...ofApps];
  } catch (err) {
    if (isSkeinError(err, "DOC_MALFORMED")) return [];
    throw err;
  }
}
