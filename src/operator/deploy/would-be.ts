import type { Manifest } from "../../app/manifest.ts";
import type { ReleaseId } from "../../lib/ids.ts";
import { publish } from "../../release/publish/publish.ts";
import { releaseIdOf } from "../../trust/document/documents.ts";
import { openAsked, type FindOptions } from "./asked.ts";
import type { Operator } from "../identity/operator.ts";
import { lookAhead } from "../release/release.ts";
import type { Origin } from "../source/source.ts";
import { unwritten } from "../release/unwritten.ts";

/** The release that a source would be. */
export interface WouldBe {
  readonly manifest: Manifest;
  readonly release: ReleaseId;
  readonly commit: string | null;
  readonly files: number;
  readonly bytes: number;
  /** What publishing it would store: about what a node that has the release before it would fetch, in bytes. */
  readonly storedBytes: number;
}

/**
 * Builds a source and cuts it as publishing it would, and publishes nothing: its id says whether anything would change.
 * @throws SkeinError as building and publishing
 */
export async function wouldBe(operator: Operator, origin: Origin, options: FindOptions): Promise<WouldBe> {
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
  const release = releaseIdOf({ app: manifest.app, tree, commit: source.commit });
  return { manifest, release, commit: source.commit, files, bytes, storedBytes };
}
