import type { Manifest } from "../../app/manifest.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import { isStored } from "../../release/fetch/tree-blobs.ts";
import type { Release } from "../../trust/document/documents.ts";
import { tellRelease } from "../tell/events.ts";
import type { Operator } from "../identity/operator.ts";
import { beginRelease, lookAhead, type Ahead, type BegunRelease } from "../release/release.ts";
import { commitHere } from "./resolve-version.ts";
import type { Origin } from "../source/source.ts";
import { publishedManifest } from "../release/release-manifest.ts";
import {
  openAsked,
  resolveWish,
  type FindOptions,
  type MeantRelease,
  type MeantSource,
} from "./resolve-wish.ts";

/** What is to be deployed, found or made. */
export interface Target {
  readonly app: string;
  readonly release: ReleaseId;
  readonly commit: string | null;
  readonly manifest: Manifest;
  readonly size: Pick<Release, "files" | "bytes">;
}

export async function findTarget(operator: Operator, options: FindOptions): Promise<Target> {
  const { posted, ...target } = await beginTarget(operator, options);
  await posted;
  return target;
}

/** A target whose release may still be on its way to the hub. */
export interface BegunTarget extends Target {
  readonly posted?: Promise<void>;
}

/** Finds or makes the release that was asked for. @throws SkeinError as resolving, building and publishing */
export async function beginTarget(operator: Operator, options: FindOptions): Promise<BegunTarget> {
  await using stack = new AsyncDisposableStack();
  const meant = await resolveWish(operator, options, stack);
  if (meant.kind === "source") return await makeAnew(operator, meant.origin, options, meant);
  const lost = await lostOf(meant, options);
  if (lost !== undefined) return await makeAnew(operator, lost, options, {});
  const { found, here } = meant;
  const { id, release } = found;
  const { app, commit } = release;
  if (here !== undefined)
    tellRelease(options.tell, operator, { app, id, release, already: true, storedBytes: 0 });
  const manifest = here?.manifest ?? (await publishedManifest(operator, found, options));
  return { app, release: id, commit, manifest, size: release };
}

/**
 * What a release is to be made of anew, where that is here: one whose bytes the depot has lost, or whose builder was
 * dropped.
 */
async function lostOf({ found, here }: MeantRelease, options: FindOptions): Promise<Origin | undefined> {
  const { release, droppedBuilder, stored } = found;
  const { depot, cwd, signal } = options;
  if (here !== undefined && droppedBuilder !== undefined) return here.origin;
  if (release.commit === null || (stored ?? (await isStored(depot, release, signal)))) return undefined;
  return here?.origin ?? (await commitHere(cwd, release.commit, signal));
}

/** What was asked before a release is made. */
interface Before {
  readonly unknownAt?: number | undefined;
  readonly ahead?: Ahead | undefined;
  readonly objects?: MeantSource["objects"];
}

async function makeAnew(
  operator: Operator,
  origin: Origin,
  options: FindOptions,
  before: Before,
): Promise<BegunTarget> {
  const { made, manifest } = await beginBuild(operator, origin, options, before);
  const { id, release, posted } = made;
  return { app: manifest.app, release: id, commit: release.commit, manifest, size: release, posted };
}

type BuildOptions = Pick<FindOptions, "env" | "app" | "tell" | "signal" | "depot" | "accept">;

interface Built {
  readonly made: BegunRelease;
  readonly manifest: Manifest;
}

/** Builds a source and publishes it. */
export async function buildRelease(
  operator: Operator,
  origin: Origin,
  options: BuildOptions,
): Promise<Built> {
  const built = await beginBuild(operator, origin, options, {});
  await built.made.posted;
  return built;
}

async function beginBuild(
  operator: Operator,
  origin: Origin,
  options: BuildOptions,
  { unknownAt, ahead, objects }: Before,
): Promise<Built> {
  await using opened = await openAsked(operator, origin, options, objects);
  const { manifest, source } = opened;
  const { app } = manifest;
  options.accept?.(manifest);
  const made = await beginRelease(operator, {
    source,
    ahead: ahead?.app === app ? ahead : lookAhead(operator, app, options.depot, options.signal),
    unknownAt,
    signal: options.signal,
    onProgress: (progress) => options.tell({ type: "publishing", ...progress }),
  });
  for (const text of made.published.notes) options.tell({ type: "note", text });
  const { storedBytes } = made.published;
  tellRelease(options.tell, operator, { ...made, app, storedBytes });
  return { made, manifest };
}
