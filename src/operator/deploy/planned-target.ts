import type { Manifest } from "../../app/manifest.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import { publish } from "../../release/publish/publish.ts";
import { releaseIdOf, type Release } from "../../trust/document/documents.ts";
import { openAsked, resolveWish, type FindOptions } from "./resolve-wish.ts";
import { publishedManifest } from "../release/release-manifest.ts";
import type { Operator } from "../identity/operator.ts";
import { findRelease, lookAhead } from "../release/release.ts";
import type { Origin } from "../source/source.ts";
import { unwritten } from "../release/unwritten.ts";

/** What would be deployed. */
export interface PlannedTarget {
  readonly manifest: Manifest;
  readonly release: ReleaseId;
  readonly commit: string | null;
  readonly size: Pick<Release, "files" | "bytes">;
  /**
   * Of a release that is not published: what storing it would take, which is about what a node fetches that has the
   * release before it, and its size, in bytes.
   */
  readonly unpublished: { readonly storedBytes: number; readonly bytes: number } | null;
}

/** Finds what a deployment would find; what it would have to make is built and cut, and published nowhere. */
export async function plannedTarget(operator: Operator, options: FindOptions): Promise<PlannedTarget> {
  await using stack = new AsyncDisposableStack();
  const meant = await resolveWish(operator, options, stack);
  if (meant.kind === "source") return await unmade(operator, meant.origin, options);
  const { found, here } = meant;
  const { id, release } = found;
  const manifest = here?.manifest ?? (await publishedManifest(operator, found, options));
  return { manifest, release: id, commit: release.commit, size: release, unpublished: null };
}

/**
 * Builds a source and cuts it as publishing it would, and publishes nothing: its id says whether anything would change.
 * @throws SkeinError as building and publishing
 */
async function unmade(operator: Operator, origin: Origin, options: FindOptions): Promise<PlannedTarget> {
  const { signal, depot } = options;
  await using opened = await openAsked(operator, origin, options);
  const { manifest, source } = opened;
  const ahead = lookAhead(operator, manifest.app, depot, signal);
  const { tree, files, bytes, storedBytes } = await publish({
    source,
    depot: unwritten(ahead.depot),
    previous: await ahead.previous,
    now: operator.clock.now(),
    cacheDir: null,
    signal,
  });
  const { commit } = source;
  const release = releaseIdOf({ app: manifest.app, tree, commit });
  const made = await findRelease(operator, manifest.app, release, signal);
  const unpublished = made === undefined ? { storedBytes, bytes } : null;
  return { manifest, release, commit, size: { files, bytes }, unpublished };
}
