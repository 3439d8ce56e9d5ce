import path from "node:path";
import type { SmallBlob } from "../../api/hub-client.ts";
import type { ReleaseView } from "../../api/schemas.ts";
import type { Depot } from "../../depot/seam/depot.ts";
import { FRESH_MS } from "../../api/together.ts";
import { hasPassed } from "../../lib/time/clock.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { shortRelease, type ReleaseId, type TreeId } from "../../lib/text/ids.ts";
import { bytesBlob } from "../../release/fetch/blobs.ts";
import { isStored } from "../../release/fetch/tree-blobs.ts";
import { packName } from "../../release/tree/pack.ts";
import { publish, type Published } from "../../release/publish/publish.ts";
import { isLate, type PublishedTree, type PublishProgress } from "../../release/tree/published.ts";
import { decodeIndex, indexName } from "../../release/tree/release-index.ts";
import type { TreeSource } from "../../release/tree/tree-source.ts";
import { releaseIdOf, type Release } from "../../trust/document/documents.ts";
import { formatBytes } from "../../lib/text/units.ts";
import { seal, type Envelope } from "../../trust/document/envelope.ts";
import { asText, timeOf } from "../../trust/document/fields.ts";
import { droppedSigners, underChain } from "../../trust/charter/chain.ts";
import { untilHeard } from "../../trust/connection/until-heard.ts";
import { openRelease } from "../../trust/orders/orders.ts";
import { toBeDone, type Deed } from "../tell/dry-run.ts";
import { cacheDir } from "../identity/home.ts";
import { keptBlobs, type KeptBlobs } from "./kept-blobs.ts";
import { nearDepot, type NearDepot } from "./near-depot.ts";
import { chainOf, type Operator } from "../identity/operator.ts";
import { shown } from "../identity/shown.ts";
import { unwritten } from "./unwritten.ts";

/** It may still be on its way: whoever signs an order for it may do so meanwhile, and sends it afterwards. */
export interface BegunRelease {
  readonly id: ReleaseId;
  readonly release: Release;
  /** It was published before, by whoever. */
  readonly already: boolean;
  readonly published: Published;
  /** Settles when nothing is on its way any more. @throws what putting and posting throw */
  readonly posted: Promise<void>;
}

/** What publishing an app will need to know, asked for while its source is still being read. */
export interface Ahead {
  readonly app: string;
  readonly depot: NearDepot;
  /** The same without what this command remembers of it. */
  readonly far: Depot;
  /** The tree that was released last. */
  readonly previous: Promise<PublishedTree | null>;
}

const PACKS_AHEAD = 4;

/** Begins to ask. Nobody need wait for the answers, and a failure is told only to whoever does. */
export function lookAhead(operator: Operator, app: string, far: Depot, signal: AbortSignal): Ahead {
  const depot = nearDepot(far, { kept: keptHere(operator), gathers: true });
  const previous = previousTree(operator, { app, depot }, signal);
  previous.then(async (tree) => await expectTree(depot, tree, signal)).catch(() => undefined);
  return { app, depot, far, previous };
}

const keptHere = ({ paths }: Operator): KeptBlobs => keptBlobs(path.join(cacheDir(paths), "blobs"));

async function previousTree(
  operator: Operator,
  { app, depot }: Pick<Ahead, "app" | "depot">,
  signal: AbortSignal,
): Promise<PublishedTree | null> {
  const [before] = await operator.client.releases(newestOf(app), signal);
  if (before === undefined) return null;
  const { tree, rows, since } = readShown(operator, app, before.release).release;
  seedIndex(depot, tree, before.index);
  return { tree, rows, since };
}

/** Asks of a release how its tree is stored, too: for whoever goes on with that. */
export const WITH_TREE = { with: "tree" } as const;

/** The question for what the app's next release begins with. */
export const newestOf = (
  app: string,
): { readonly app: string; readonly limit: 1; readonly with: "tree" } => ({
  app,
  limit: 1,
  ...WITH_TREE,
});

function seedIndex(depot: NearDepot, tree: TreeId, index: string | undefined): void {
  if (index !== undefined) depot.seed(indexName(tree), Buffer.from(index, "base64"));
}

/** A depot for reading a release's tree: what this machine has of it is not asked for. */
export function nearTree(
  operator: Operator,
  { release, index }: FoundRelease,
  far: Depot,
  signal: AbortSignal,
): Depot {
  const depot = nearDepot(far, { kept: keptHere(operator) });
  seedIndex(depot, release.tree, index);
  expectTree(depot, release, signal).catch(() => undefined); // told to whoever reads
  return depot;
}

async function expectTree(depot: NearDepot, tree: PublishedTree | null, signal: AbortSignal): Promise<void> {
  if (tree === null) return;
  const expectPacks = async (): Promise<void> => {
    const index = await depot.expect(indexName(tree.tree), signal);
    const packs = index === undefined ? [] : decodeIndex(index).packs.slice(0, PACKS_AHEAD);
    await Promise.all(packs.map(async (pack) => await depot.expect(packName(pack), signal)));
  };
  const tables = [`rows/${tree.rows}`, ...(tree.since === null ? [] : [`since/${tree.since}`])];
  await Promise.all([expectPacks(), ...tables.map(async (name) => await depot.expect(name, signal))]);
}

interface MakeOptions {
  readonly source: TreeSource;
  readonly ahead: Ahead;
  /** When the hub knew no release of the source's commit, in ms since the epoch. */
  readonly unknownAt?: number | undefined;
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: PublishProgress) => void;
}

/**
 * Publishes a source as a release of an app: its chunks to the depot, its signed document to the hub. In a dry run it
 * is made, told of, and kept nowhere.
 * @throws SkeinError TREE_REFUSED, ARCHIVE_REFUSED, BUILD_DIFFERS, NOT_AUTHORISED, HUB_UNREACHABLE
 */
export async function beginRelease(operator: Operator, options: MakeOptions): Promise<BegunRelease> {
  const { source, signal } = options;
  const { app, depot, far } = options.ahead;
  const { client, clock, charter, signer, dryRun } = operator;
  const now = clock.now();
  const publishing = { source, previous: await options.ahead.previous, now, signal };
  const published = await publish({
    ...publishing,
    depot: dryRun === undefined ? depot : unwritten(depot),
    cacheDir: dryRun === undefined ? cacheDir(operator.paths) : null,
    ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
  });
  const id = releaseIdOf({ app, tree: published.tree, commit: source.commit });
  const blobs = depot.gathered();
  const hearing = { clock, signal };
  const same = await untilHeard(async () => await earlier(operator, options, id), hearing).catch(
    async (err: unknown) => {
      // However this ends, nothing is on its way any more then.
      await depot.settled();
      throw err;
    },
  );
  if (same !== undefined) {
    const release = openRelease(charter, same.release, now).body;
    return { id, release, already: true, published, posted: toldLater(putApart(depot, blobs, signal)) };
  }
  const release: Release = {
    cluster: charter.cluster,
    app,
    tree: published.tree,
    rows: published.rows,
    since: published.since,
    commit: source.commit,
    source: { kind: source.kind, name: asText(source.name, 255) },
    builder: signer.kid,
    created: timeOf(now),
    files: published.files,
    bytes: published.bytes,
  };
  if (!toBeDone(operator, () => releaseDeed(id, release)))
    return { id, release, already: false, published, posted: Promise.resolve() };
  const sealed = await seal("release.1", release, [signer]);
  const posted = depot.settled().then(async () => {
    const post = async (): Promise<ReleaseView> => await client.postRelease(sealed, signal, blobs);
    const { stored } = await untilHeard(post, hearing).catch(async (err: unknown) => {
      if (blobs.length === 0 || !isSkeinError(err, "BAD_REQUEST")) throw err;
      await putApart(depot, blobs, signal); // a hub that knows of no blobs there
      return await client.postRelease(sealed, signal);
    });
    // What it shares with others was there when that was listed: a collection may have taken it out of use since.
    const isWhole = blobs.length === 0 || (stored ?? (await isStored(far, published, signal)));
    if (!isWhole || isLate(now, clock.now())) await publish({ ...publishing, depot: far, cacheDir: null });
  });
  return { id, release, already: false, published, posted: toldLater(posted) };
}

/** Its failure is told to whoever waits for it, and nobody may do so yet. */
function toldLater(work: Promise<void>): Promise<void> {
  work.catch(() => undefined);
  return work;
}

/** Pure. */
export function releaseDeed(id: ReleaseId, { app, commit, files, bytes }: Release): Deed {
  const of = commit === null ? "" : ` of commit ${commit.slice(0, 12)}`;
  return {
    text: `${shortRelease(app, id)}${of} would be published: ${files} file${files === 1 ? "" : "s"}, ${formatBytes(bytes)}`,
    data: { deed: "release", app, release: id, commit, files, bytes },
  };
}

async function putApart(depot: NearDepot, blobs: readonly SmallBlob[], signal: AbortSignal): Promise<void> {
  for (const { name, bytes } of blobs) await depot.put(name, bytesBlob(bytes), signal);
  await depot.settled();
}

/** The very release, where it is there; one commit has one release. @throws SkeinError BUILD_DIFFERS */
async function earlier(
  operator: Operator,
  { ahead: { app }, source: { commit }, unknownAt, signal }: MakeOptions,
  id: ReleaseId,
): Promise<ReleaseView | undefined> {
  if (unknownAt !== undefined && !hasPassed(FRESH_MS, unknownAt, operator.clock.now())) return undefined;
  const [same] = await Promise.all([
    releaseIfThere(operator, app, id, signal),
    refuseOtherBuild(operator, app, commit, id, signal),
  ]);
  // What somebody signed who was dropped since is signed anew: no node begins it else.
  return same === undefined || readShown(operator, app, same.release).droppedBuilder !== undefined
    ? undefined
    : same;
}

async function releaseIfThere(
  operator: Operator,
  app: string,
  id: string,
  signal: AbortSignal,
  more: Partial<typeof WITH_TREE> = {},
): Promise<ReleaseView | undefined> {
  return await operator.client.release(id, app, signal, more).catch((err: unknown) => {
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
  /** Who signed it and was dropped by a charter since: nodes that have it keep it, no other one takes it. Absent: nobody. */
  readonly droppedBuilder?: string;
  /** Of its tree, in base64, where the hub told it with the release. Unsigned. */
  readonly index?: string;
  /** Is its tree all in the hub's depot? Absent: the hub did not tell. */
  readonly stored?: boolean;
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
  more: Partial<typeof WITH_TREE> = {},
): Promise<FoundRelease | undefined> {
  const id = idIn(app, version);
  if (id === undefined) return undefined;
  const view = await releaseIfThere(operator, app, id, signal, more);
  if (view === undefined) return undefined;
  const found = readShown(operator, app, view.release);
  const { index, stored } = view;
  if (found.release.app === app && found.id === view.id)
    return {
      ...found,
      ...(index === undefined ? {} : { index }),
      ...(stored === undefined ? {} : { stored }),
    };
  throw new SkeinError("ORDER_UNKNOWN_RELEASE", `the hub shows another release for ${version}`, {
    data: { asked: version, found: found.id },
  });
}

/** What of a version may name a release of the app: an id, a commit, or the beginning of one. */
export function idIn(app: string, version: string): string | undefined {
  const [named, id = ""] = version.includes("@") ? version.split("@") : [app, version];
  return named === app && /^[0-9a-f]{4,64}$/.test(id) ? id : undefined;
}

export const noRelease = (app: string, version: string): SkeinError =>
  new SkeinError("RELEASE_NOT_FOUND", `there is no release ${version} of ${app}`, {
    hint: `List them: skein releases ${app}`,
    data: { app, version },
  });

/** @throws SkeinError DOC_UNSIGNED and the like where nobody signed it who may, or ever might, build the app */
export function readShown(operator: Operator, app: string, document: Envelope): FoundRelease {
  const chain = chainOf(operator);
  const now = operator.clock.now();
  const upheld = shown(`a release of ${app}`, () =>
    underChain(chain, (charter) => openRelease(charter, document, now)),
  );
  const { id, body: release } = upheld.opened;
  const dropped = droppedSigners(chain, upheld);
  return { id, release, ...(dropped === null ? {} : { droppedBuilder: dropped }) };
}

/** The document that the nodes will check, checked here first. Those that lack one by a dropped builder do not take it. */
export async function documentOf(
  operator: Operator,
  app: string,
  id: ReleaseId,
  signal: AbortSignal,
): Promise<Pick<FoundRelease, "droppedBuilder"> & { readonly document: Envelope }> {
  const { release: document } = await operator.client.release(id, app, signal);
  const { id: found, release, ...dropped } = readShown(operator, app, document);
  if (found === id && release.app === app) return { document, ...dropped };
  throw new SkeinError(
    "ORDER_UNKNOWN_RELEASE",
    `the hub shows another release for ${shortRelease(app, id)}`,
    {
      data: { asked: id, found },
    },
  );
}
