import type { ReleaseView } from "../api/schemas.ts";
import type { Depot } from "../depot/depot.ts";
import { isSkeinError, SkeinError } from "../lib/errors.ts";
import type { ReleaseId } from "../lib/ids.ts";
import { publish, type Published } from "../release/publish.ts";
import type { PublishedTree, PublishProgress } from "../release/published.ts";
import type { TreeSource } from "../release/tree-source.ts";
import { releaseIdOf, type Release } from "../trust/documents.ts";
import { seal } from "../trust/envelope.ts";
import { timeOf } from "../trust/fields.ts";
import { openRelease } from "../trust/orders.ts";
import { cacheDir } from "./home.ts";
import type { Operator } from "./operator.ts";

export interface MadeRelease {
  readonly id: ReleaseId;
  readonly release: Release;
  /** It was published before, by whoever. */
  readonly already: boolean;
  readonly published: Published;
}

export interface MakeOptions {
  readonly app: string;
  readonly source: TreeSource;
  readonly depot: Depot;
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: PublishProgress) => void;
}

/**
 * Publishes a source as a release of an app: its chunks to the depot, its signed document to the hub.
 * @throws SkeinError TREE_REFUSED, ARCHIVE_REFUSED, BUILD_DIFFERS, NOT_AUTHORISED, HUB_UNREACHABLE
 */
export async function makeRelease(operator: Operator, options: MakeOptions): Promise<MadeRelease> {
  const { app, source, depot, signal } = options;
  const { client, clock, charter, signer } = operator;
  const before = await client.releases({ app, limit: 1 }, signal);
  const now = clock.now();
  const published = await publish({
    source,
    depot,
    previous: treeOf(operator, before[0]),
    now,
    cacheDir: cacheDir(operator.paths),
    signal,
    ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
  });
  const id = releaseIdOf({ app, tree: published.tree, commit: source.commit });
  const same = await releaseIfThere(operator, app, id, signal);
  if (same !== undefined)
    return { id, release: openRelease(charter, same.release, now).body, already: true, published };
  await refuseOtherBuild(operator, app, source.commit, id, signal);
  const release: Release = {
    cluster: charter.cluster,
    app,
    tree: published.tree,
    rows: published.rows,
    since: published.since,
    commit: source.commit,
    source: { kind: source.kind, name: source.name.slice(0, 255) },
    builder: signer.kid,
    created: timeOf(now),
    files: published.files,
    bytes: published.bytes,
  };
  await client.postRelease(await seal("release.1", release, [signer]), signal);
  return { id, release, already: false, published };
}

function treeOf(operator: Operator, view: ReleaseView | undefined): PublishedTree | null {
  if (view === undefined) return null;
  const { tree, rows, since } = openRelease(operator.charter, view.release, operator.clock.now()).body;
  return { tree, rows, since };
}

async function releaseIfThere(
  operator: Operator,
  app: string,
  id: string,
  signal: AbortSignal,
): Promise<ReleaseView | undefined> {
  return await operator.client.release(id, app, signal).catch((err: unknown) => {
    if (isSkeinError(err, "RELEASE_NOT_FOUND", "NOT_FOUND", "APP_NOT_FOUND")) return undefined;
    throw err;
  });
}

/** One commit has one release. */
async function refuseOtherBuild(
  operator: Operator,
  app: string,
  commit: string | null,
  id: ReleaseId,
  signal: AbortSignal,
): Promise<void> {
  if (commit === null) return;
  const other = await releaseIfThere(operator, app, commit, signal);
  if (other === undefined || other.id === id) return;
  throw new SkeinError(
    "BUILD_DIFFERS",
    `${commit.slice(0, 12)} was built to another tree before: ${app}@${other.id.slice(0, 8)}`,
    {
      hint: `Deploy the earlier one: skein deploy ${app} ${other.id.slice(0, 8)}; or make the build reproducible.`,
      data: { app, commit, release: id, earlier: other.id },
    },
  );
}

export interface FoundRelease {
  readonly id: ReleaseId;
  readonly release: Release;
}

/**
 * A release that is published already, by id, unique prefix, `app@prefix` or commit; verified here.
 * @returns undefined when the hub knows none
 */
export async function findRelease(
  operator: Operator,
  app: string,
  version: string,
  signal: AbortSignal,
): Promise<FoundRelease | undefined> {
  const [named, id = ""] = version.includes("@") ? version.split("@") : [app, version];
  if (named !== app || !/^[0-9a-f]{4,64}$/.test(id)) return undefined;
  const view = await releaseIfThere(operator, app, id, signal);
  if (view === undefined) return undefined;
  const opened = openRelease(operator.charter, view.release, operator.clock.now());
  if (opened.body.app !== app || opened.id !== view.id) {
    throw new SkeinError("ORDER_UNKNOWN_RELEASE", `the hub shows another release for ${version}`, {
      data: { asked: version, found: opened.id },
    });
  }
  return { id: opened.id, release: opened.body };
}
