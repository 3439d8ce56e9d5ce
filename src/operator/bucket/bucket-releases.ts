import { namesUnder, readSigned } from "../../bucket/entries.ts";
import { NOT_IN_FORCE } from "../../bucket/following.ts";
import {
  isMeant,
  releaseName,
  releasePlace,
  releasePlaceOf,
  RELEASES,
  revisionOf,
  type ReleasePlace,
} from "../../bucket/layout.ts";
import { publishRelease, remakeRoot } from "../../bucket/publish.ts";
import type { Bucket } from "../../bucket/bucket.ts";
import { appIn } from "../../bucket/root.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { publish } from "../../release/publish/publish.ts";
import { isLate, type PublishedTree } from "../../release/tree/published.ts";
import type { TreeSource } from "../../release/tree/tree-source.ts";
import { releaseIdOf, type Charter, type Release } from "../../trust/document/documents.ts";
import { seal, type Envelope } from "../../trust/document/envelope.ts";
import { asText, msOf, timeOf } from "../../trust/document/fields.ts";
import { openRelease } from "../../trust/orders/orders.ts";
import { toBeDone } from "../tell/dry-run.ts";
import { tellRelease, type Tell } from "../tell/events.ts";
import { cacheDir } from "../identity/home.ts";
import { nearDepot } from "../release/near-depot.ts";
import { releaseDeed } from "../release/release.ts";
import { unwritten } from "../release/unwritten.ts";
import { deltasInBucket, depotAtHand } from "./bucket-deltas.ts";
import { publishTools, type BucketOperator } from "./bucket-operator.ts";

/** A release in a bucket, whose document was checked. */
export interface BucketRelease {
  readonly place: ReleasePlace;
  readonly release: Release;
  readonly envelope: Envelope;
}

export interface MadeInBucket extends BucketRelease {
  /** It was there before, by whoever. */
  readonly already: boolean;
  readonly storedBytes: number;
  /** What the source left out, as sentences. */
  readonly notes: readonly string[];
}

export interface MakeOptions {
  readonly app: string;
  readonly source: TreeSource;
  /** When it was made, in ms since the epoch; default: now, and after the newest that is there. */
  readonly createdMs?: number;
  readonly tell: Tell;
  readonly signal: AbortSignal;
}

/**
 * Publishes a source as a release: its chunks first, then its signed document. The same content is the same release:
 * then nothing is written. In a dry run it is made, told of, and kept nowhere; its envelope has no signature then.
 * @throws SkeinError TREE_REFUSED, ARCHIVE_REFUSED, and what the bucket throws
 */
export async function releaseToBucket(operator: BucketOperator, options: MakeOptions): Promise<MadeInBucket> {
  const made = await make(operator, options);
  const { app, tell } = options;
  for (const text of made.notes) tell({ type: "note", text });
  tellRelease(tell, operator, { ...made, app, id: made.place.id });
  return made;
}

async function make(operator: BucketOperator, options: MakeOptions): Promise<MadeInBucket> {
  const { app, source, tell, signal } = options;
  const { bucket, charter, signer, clock, paths, dryRun } = operator;
  const atHand = depotAtHand(operator);
  const depot = nearDepot(atHand);
  const { trees: earlier, madeMs, ahead } = await newestReleases(operator, app, signal);
  const begunMs = clock.now();
  const created = options.createdMs ?? Math.max(begunMs, madeMs + 1);
  const publishing = { source, previous: earlier[0] ?? null, now: created, signal };
  const published = await publish({
    ...publishing,
    depot: dryRun === undefined ? depot : unwritten(depot),
    cacheDir: dryRun === undefined ? cacheDir(paths) : null,
    onProgress: (progress) => tell({ type: "publishing", ...progress }),
  });
  await depot.settled();
  const { tree, rows, since, files, bytes, storedBytes, notes: left } = published;
  const notes = [...left, ...ahead];
  const id = releaseIdOf({ app, tree, commit: source.commit });
  const there = await releaseWithId(bucket, charter, app, id, clock.now(), signal);
  if (there !== undefined) {
    // Whoever put it may have died before the root said so.
    if (dryRun === undefined) await remakeRoot(publishTools(operator, signal));
    return { ...there, already: true, storedBytes, notes };
  }
  const release: Release = {
    cluster: charter.cluster,
    app,
    tree,
    rows,
    since,
    commit: source.commit,
    source: { kind: source.kind, name: asText(source.name, 255) },
    builder: signer.kid,
    created: timeOf(created),
    files,
    bytes,
  };
  const place = releasePlace(app, created, id);
  if (!toBeDone(operator, () => releaseDeed(id, release))) {
    const envelope = await seal("release.1", release, []);
    return { place, release, envelope, already: false, storedBytes, notes };
  }
  const untold = await deltasInBucket(operator, published, earlier, { depot: atHand, signal });
  const envelope = await seal("release.1", release, [signer]);
  await publishRelease(place, envelope, publishTools(operator, signal));
  if (isLate(begunMs, clock.now())) await publish({ ...publishing, depot: bucket.depot, cacheDir: null });
  return { place, release, envelope, already: false, storedBytes, notes: [...notes, ...untold] };
}

/** Releases of an app, oldest first, as names tell of them. */
export async function releasePlaces(
  bucket: Bucket,
  app: string,
  signal: AbortSignal,
): Promise<readonly ReleasePlace[]> {
  const names = await namesUnder(bucket.documents, `${RELEASES}${app}/`, signal);
  return names.flatMap((name) => releasePlaceOf(name) ?? []);
}

/**
 * The one release that a person's word means.
 * @throws SkeinError RELEASE_NOT_FOUND, AMBIGUOUS, ORDER_UNKNOWN_RELEASE, DOC_*
 */
export async function meantRelease(
  { bucket, charter, clock }: Pick<BucketOperator, "bucket" | "charter" | "clock">,
  { app, name, revision }: { readonly app: string; readonly name: string; readonly revision: string },
  signal: AbortSignal,
): Promise<BucketRelease> {
  const meant = (await releasePlaces(bucket, app, signal)).filter((place) => isMeant(revision, place));
  const [first] = meant;
  if (first === undefined) {
    throw new SkeinError("RELEASE_NOT_FOUND", `${bucket.name} has no revision ${name}.${revision}`, {
      hint: `See skein ftl list --master ${name}`,
      data: { package: name, revision },
    });
  }
  if (meant.some(({ id }) => id !== first.id)) {
    throw new SkeinError("AMBIGUOUS", `${name}.${revision} may be any of ${meant.length} revisions`, {
      hint: "Write more of it.",
      data: { lines: meant.map((place) => `${name}.${revisionOf(place)}`) },
    });
  }
  const found = await firstGood(bucket, charter, meant, { now: clock.now(), signal });
  if (found instanceof SkeinError) throw found;
  if (found !== undefined) return found;
  throw new SkeinError("RELEASE_NOT_FOUND", `${name}.${revision} was purged a moment ago`);
}

/** @returns undefined when there is none. @throws SkeinError ORDER_UNKNOWN_RELEASE when it is not what its name says */
async function readRelease(
  bucket: Bucket,
  charter: Charter,
  place: ReleasePlace,
  now: number,
  signal: AbortSignal,
): Promise<BucketRelease | undefined> {
  const envelope = await readSigned(bucket.documents, releaseName(place), signal);
  if (envelope === undefined) return undefined;
  const opened = openRelease(charter, envelope, now);
  if (opened.id === place.id && opened.body.app === place.app) {
    return {
      place: releasePlace(place.app, msOf(opened.body.created), place.id),
      release: opened.body,
      envelope,
    };
  }
  throw new SkeinError(
    "ORDER_UNKNOWN_RELEASE",
    `${bucket.name} shows another release as ${releaseName(place)}`,
    {
      data: { asked: place.id, found: opened.id },
    },
  );
}

async function releaseWithId(
  bucket: Bucket,
  charter: Charter,
  app: string,
  id: string,
  now: number,
  signal: AbortSignal,
): Promise<BucketRelease | undefined> {
  const places = (await releasePlaces(bucket, app, signal)).filter((place) => place.id === id);
  const found = await firstGood(bucket, charter, places, { now, signal });
  return found instanceof SkeinError ? undefined : found;
}

/**
 * Of places of one release the first that has its document: one that nobody may have signed does not stand in the way
 * of a good one. Where there is none but such, what is the matter with the last.
 */
export async function firstGood(
  bucket: Bucket,
  charter: Charter,
  places: readonly ReleasePlace[],
  { now, signal }: { readonly now: number; readonly signal: AbortSignal },
): Promise<BucketRelease | SkeinError | undefined> {
  let trouble: SkeinError | undefined;
  for (const place of places) {
    try {
      const found = await readRelease(bucket, charter, place, now, signal);
      if (found !== undefined) return found;
    } catch (err) {
      if (!isSkeinError(err, ...NOT_IN_FORCE, "ORDER_UNKNOWN_RELEASE")) throw err;
      trouble = err;
    }
  }
  return trouble;
}

interface NewestReleases {
  /** The newest first: of the first, contents keep their times and packs are looked at; nodes come from any of them. */
  readonly trees: readonly PublishedTree[];
  /** When the newest was made, in ms since the epoch. -Infinity: there is none. */
  readonly madeMs: number;
  /** A sentence where there are some that this clock cannot have seen being made. */
  readonly ahead: readonly string[];
}

/** Those of them that hold. */
async function newestReleases(
  { bucket, charter, clock, root }: BucketOperator,
  app: string,
  signal: AbortSignal,
): Promise<NewestReleases> {
  const places = (appIn(root, app)?.releases.newest ?? []).flatMap((name) => releasePlaceOf(name) ?? []);
  const trouble: unknown[] = [];
  const found = await Promise.all(
    places.map(
      async (place) =>
        await readRelease(bucket, charter, place, clock.now(), signal).catch((err: unknown) => {
          trouble.push(err);
        }),
    ),
  );
  const releases = found.flatMap((one) => (one === undefined ? [] : [one.release]));
  const ahead = trouble.find((err) => isSkeinError(err, "DOC_FROM_FUTURE"));
  return {
    trees: releases.map(({ tree, rows, since }) => ({ tree, rows, since })),
    madeMs: Math.max(-Infinity, ...releases.map(({ created }) => msOf(created))),
    ahead:
      ahead === undefined
        ? []
        : [
            `a release of ${app} is dated ${String(ahead.data["at"])}, ahead of this machine's clock, and newer ones sort ` +
              "before it until then: set the clock of the machine that differs",
          ],
  };
}
