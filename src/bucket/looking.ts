import type { DocumentStore } from "../depot/seam/documents.ts";
import { hasPassed } from "../lib/time/clock.ts";
import { listRoot, readRoot } from "./entries.ts";
import { rootText, type Root } from "./root.ts";

/** What a node saw of a bucket last. */
export interface Seen {
  readonly root: Root;
  /** Of the root's document; undefined: it was made from the listing. */
  readonly etag: string | undefined;
  /** When the listing itself was looked at, in ms since the epoch. */
  readonly listedMs: number;
}

export interface SeenNow extends Seen {
  /** The bucket has what it had before. */
  readonly isSame: boolean;
}

/** How often the listing is looked at beside the root: what its publisher could not finish arrives then. */
const LIST_EVERY_MS = 3_600_000;

/** Looks at a bucket's root again, or now and then at its listing. @throws SkeinError what the store throws */
export async function lookAgain(
  documents: DocumentStore,
  before: Seen | undefined,
  now: number,
  signal: AbortSignal,
): Promise<SeenNow> {
  // The first time counts as a look that was some time ago: machines that start together do not list together.
  const listedMs = before?.listedMs ?? now - Math.random() * LIST_EVERY_MS;
  if (before !== undefined && hasPassed(LIST_EVERY_MS, listedMs, now)) {
    const root = await listRoot(documents, signal);
    return { root, etag: before.etag, listedMs: now, isSame: areSame(root, before.root) };
  }
  const look = await readRoot(documents, before?.etag, signal);
  if (look === "same") return { ...(before ?? never(documents)), listedMs, isSame: true };
  return { ...look, listedMs, isSame: before !== undefined && areSame(look.root, before.root) };
}

const areSame = (a: Root, b: Root): boolean => rootText(a) === rootText(b);

function never(documents: DocumentStore): never {
  throw new Error(`${documents.name} answered a first read as unchanged`);
}
