import type { Bucket } from "../../bucket/bucket.ts";
import { charterChain } from "../../bucket/following.ts";
import { isMeant, releasePlace, type ReleasePlace } from "../../bucket/layout.ts";
import { publishCharters, publishRelease } from "../../bucket/publish.ts";
import type { Depot } from "../../depot/seam/depot.ts";
import { httpDepot } from "../../depot/http/http-depot.ts";
import type { Clock } from "../../lib/time/clock.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import type { Digest } from "../../lib/text/ids.ts";
import { openChain } from "../../trust/charter/charter.ts";
import { releaseIdOf, type Charter } from "../../trust/document/documents.ts";
import { readUnverified, type Envelope } from "../../trust/document/envelope.ts";
import { msOf } from "../../trust/document/fields.ts";
import { lookAt } from "../bucket/bucket-operator.ts";
import { firstGood, releasePlaces } from "../bucket/bucket-releases.ts";
import { readCharters as keptCharters } from "../identity/home.ts";
import type { Operator } from "../identity/operator.ts";

/** Where releases are kept: a hub or a bucket. What it shows is checked by whoever takes it. */
export interface Shelf {
  /** For messages. */
  readonly name: string;
  readonly depot: Depot;
  /** From the first charter on; empty where there is none yet. */
  charters(signal: AbortSignal): Promise<readonly Envelope[]>;
  /**
   * A release by id, or the beginning of one, or as `skein ftl` prints it. Of several documents of it one that the
   * charter vouches for, where there is one.
   * @throws SkeinError RELEASE_NOT_FOUND, AMBIGUOUS, DOC_*
   */
  find(app: string, word: string, charter: Charter, signal: AbortSignal): Promise<Envelope>;
  /** Idempotent. @param charters the chain that the release was checked under */
  post(release: Envelope, charters: readonly Envelope[], signal: AbortSignal): Promise<void>;
}

export function hubShelf({ client, paths }: Operator): Shelf {
  return {
    name: client.name,
    depot: httpDepot(client),
    charters: async () => await keptCharters(paths),
    find: async (app, word, _charter, signal) => {
      const id = word.replace(/^.*@/, "");
      const view = await client.call("release", { params: { id }, query: { app }, signal });
      return view.release;
    },
    post: async (release, _charters, signal) => {
      await client.postRelease(release, signal);
    },
  };
}

export function bucketShelf(bucket: Bucket, clock: Clock): Shelf {
  const chain = async (signal: AbortSignal): Promise<readonly Envelope[]> => {
    const { root } = await lookAt(bucket, signal);
    const now = clock.now();
    return (await charterChain(bucket.documents, undefined, root.charter, { now, signal }))?.envelopes ?? [];
  };
  return {
    name: bucket.name,
    depot: bucket.depot,
    charters: chain,
    find: async (app, word, charter, signal) =>
      await findInBucket(bucket, { app, word }, charter, { now: clock.now(), signal }),
    post: async (release, charters, signal) => {
      const tools = { documents: bucket.documents, clock, signal };
      const there = await chain(signal);
      if (there.length < charters.length) await publishCharters(charters, tools);
      const body = readUnverified(release, "release.1");
      await publishRelease(releasePlace(body.app, msOf(body.created), releaseIdOf(body)), release, tools);
    },
  };
}

async function findInBucket(
  bucket: Bucket,
  { app, word }: { readonly app: string; readonly word: string },
  charter: Charter,
  { now, signal }: { readonly now: number; readonly signal: AbortSignal },
): Promise<Envelope> {
  const meant = (await releasePlaces(bucket, app, signal)).filter((place) =>
    isMeant(word.replace(/^.*[@.]/, ""), place),
  );
  const [first] = meant;
  if (first !== undefined && meant.some(({ id }) => id !== first.id)) throw ambiguous(app, word, meant);
  const found = await firstGood(bucket, charter, meant, { now, signal });
  if (found instanceof SkeinError) throw found;
  if (found === undefined) {
    throw new SkeinError("RELEASE_NOT_FOUND", `${bucket.name} has no release ${word} of ${app}`, {
      hint: `See skein list --master ${app}.`,
      data: { app, release: word },
    });
  }
  return found.envelope;
}

const ambiguous = (app: string, word: string, meant: readonly ReleasePlace[]): SkeinError =>
  new SkeinError("AMBIGUOUS", `${word} may be any of ${meant.length} releases of ${app}`, {
    hint: "Write more of it.",
    data: { candidates: meant.map(({ id }) => id) },
  });

/**
 * The charter in force, out of two chains of one cluster: what the shelf has, and what a file brings.
 * @throws SkeinError CHARTER_PIN where either is another cluster's, CHARTER_*, DOC_*
 */
export function newerChain(
  pin: Digest,
  chains: readonly (readonly Envelope[])[],
  now: number,
): { readonly charter: Charter; readonly chain: readonly Envelope[] } {
  const opened = chains
    .filter((chain) => chain.length > 0)
    .map((chain) => ({ chain, charter: openChain(chain, pin, now).body }))
    .sort((a, b) => b.charter.version - a.charter.version);
  const [newest] = opened;
  if (newest !== undefined) return newest;
  throw new SkeinError("CHARTER_PIN", "there is no charter to check the release against");
}
