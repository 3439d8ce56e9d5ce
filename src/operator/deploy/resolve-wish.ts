import { MANIFEST_FILE } from "../../app/conventions.ts";
import type { Manifest } from "../../app/manifest.ts";
import type { Depot } from "../../depot/seam/depot.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { GitObjects } from "../../source/git-objects.ts";
import type { Tell } from "../tell/events.ts";
import type { Operator } from "../identity/operator.ts";
import { findRelease, lookAhead, WITH_TREE, type Ahead, type FoundRelease } from "../release/release.ts";
import { resolveVersion } from "./resolve-version.ts";
import {
  isPassedOver,
  refuseBelowManifest,
  refuseNewManifest,
  type CommitOfFolder,
} from "../source/misplaced-manifest.ts";
import {
  doesSomething,
  isApp,
  openSource,
  originOf,
  readManifest,
  type OpenedSource,
  type Origin,
} from "../source/source.ts";

export interface Wish {
  /** null: what the manifest here says. */
  readonly app: string | null;
  /** null: `HEAD` here, or the hub's newest. */
  readonly version: string | null;
  /** null: the manifest's `targets`, else what the last order said, else all nodes. */
  readonly selector: string | null;
  /** A folder or file to release as it is. */
  readonly from: string | null;
  readonly env: string;
  readonly cwd: string;
}

/** What finding or making a release takes. */
export interface FindOptions extends Wish {
  readonly depot: Depot;
  readonly helperDir: string;
  /** Where it was looked at already. */
  readonly here?: Here | undefined;
  readonly tell: Tell;
  /** Hears what a release that is made says, before it is published; throws to refuse it. */
  readonly accept?: (manifest: Manifest) => void;
  readonly signal: AbortSignal;
}

/** What a wish stands for: a release that is published, or a source to make one of. */
export type Meant = MeantRelease | MeantSource;

export interface MeantRelease {
  readonly kind: "release";
  readonly found: FoundRelease;
  /** What it was made of, where that lies here and was meant. */
  readonly here?: { readonly origin: Origin; readonly manifest: Manifest };
}

export interface MeantSource {
  readonly kind: "source";
  readonly origin: Origin;
  /** When the hub knew no release of it, in ms since the epoch. */
  readonly unknownAt?: number;
  /** Where it was begun already. */
  readonly ahead?: Ahead;
  /** Of the origin's repository, where they are being read already. */
  readonly objects?: GitObjects;
}

/**
 * Finds out what is meant, the same for a deployment and for its plan. Nothing is built or made.
 * @param stack owns what is fetched for it
 * @throws SkeinError SOURCE_NOT_FOUND, USAGE, and what finding a version throws
 */
export async function resolveWish(
  operator: Operator,
  options: FindOptions,
  stack: AsyncDisposableStack,
): Promise<Meant> {
  const { app, version, from, cwd, helperDir, signal } = options;
  if (from !== null) return { kind: "source", origin: { kind: "path", path: from } };
  if (version === null) {
    const here = options.here ?? (await hereIfItIs(app, options));
    if (here !== undefined) return await meantHere(operator, here, options);
    if (app === null) throw nothingHere(cwd);
  }
  if (app === null) throw new SkeinError("USAGE", "a version needs its app: skein deploy APP VERSION");
  const ahead = lookAhead(operator, app, options.depot, signal);
  let here: { readonly commit: string; readonly objects: GitObjects } | undefined;
  const onHere = ({ repo, commit }: { readonly repo: string; readonly commit: string }): void => {
    here = { commit, objects: stack.use(new GitObjects(repo)) };
    // While the hub is asked for a release of it.
    here.objects.begin();
  };
  const found = await resolveVersion(operator, { app, version, cwd, helperDir, stack, onHere, signal });
  if (found.kind === "release") return found;
  const { origin, unknownAt } = found;
  const objects = here?.commit === origin.commit ? here.objects : undefined;
  await tellPassedOver({ ...origin, objects }, options);
  return { kind: "source", origin, unknownAt, ahead, ...(objects === undefined ? {} : { objects }) };
}

export interface Here {
  readonly origin: Origin;
  readonly left: readonly string[];
  readonly isUnborn: boolean;
  /** Where it was read already. */
  readonly manifest?: Manifest;
}

export type HereOptions = Pick<FindOptions, "cwd" | "env" | "signal">;

/** The source in this folder, when it is the app that was named (or none was). */
export async function hereIfItIs(app: string | null, options: HereOptions): Promise<Here | undefined> {
  const here = await originOf(options.cwd, options.signal);
  const { origin } = here;
  const read = { env: options.env, signal: options.signal };
  if (app === null) {
    await refuseBelowManifest(origin, options.cwd);
    await refuseNewManifest(origin, options.cwd, options.signal);
    return (await isApp(origin, read)) ? here : undefined;
  }
  const manifest = await readManifest(origin, read).catch((err: unknown) => {
    if (!(err instanceof SkeinError && err.code.startsWith("MANIFEST_"))) throw err;
    if (err.data["app"] === app) throw err;
    return undefined;
  });
  if (manifest?.app !== app || !(await saysWhatItIs(manifest, origin, read))) return undefined;
  await refuseNewManifest(origin, options.cwd, options.signal);
  return { ...here, manifest };
}

/** Opens a source that was asked for, and tells what its build prints. @throws SkeinError as `openSource` */
export async function openAsked(
  { paths }: Pick<Operator, "paths">,
  origin: Origin,
  { env, app, tell, signal }: Pick<FindOptions, "env" | "app" | "tell" | "signal">,
  objects?: GitObjects,
): Promise<OpenedSource> {
  return await openSource(origin, {
    paths,
    env,
    ...(app === null ? {} : { app }),
    onLine: (line) => tell({ type: "output", line }),
    objects,
    signal,
  });
}

/** A folder that merely has the app's name may be anything: a home, say. */
async function saysWhatItIs(
  manifest: Manifest,
  origin: Origin,
  read: Pick<FindOptions, "env" | "signal">,
): Promise<boolean> {
  return doesSomething(manifest) || (await isApp(origin, read));
}

/** The manifest of a source that was asked for. */
export async function manifestOf(
  origin: Origin,
  { app, env, signal }: Pick<FindOptions, "app" | "env" | "signal">,
): Promise<Manifest> {
  return await readManifest(origin, { env, signal, ...(app === null ? {} : { app }) });
}

/** Who names a commit means that one; that what is written here of how it runs does not count there, is told. */
async function tellPassedOver(of: CommitOfFolder, { cwd, tell, signal }: FindOptions): Promise<void> {
  if (!(await isPassedOver(of, cwd, signal))) return;
  const { commit } = of;
  const text = `${MANIFEST_FILE} here is not in the commit ${commit.slice(0, 12)}, and says nothing of it: conventions do.`;
  tell({ type: "warning", text });
}

/** What of a repository goes, where that is not all that lies here, or more than was ever committed. */
function tellLeft({ left, isUnborn }: Pick<Here, "left" | "isUnborn">, tell: Tell): void {
  if (isUnborn)
    tell({
      type: "warning",
      text: "the repository has no commit yet, so the folder goes as it is, with what git ignores in it.",
    });
  if (left.length === 0) return;
  tell({
    type: "warning",
    text: `${left.length} uncommitted change${left.length === 1 ? " is" : "s are"} not deployed (HEAD is); --from . takes the folder as it is.`,
  });
}

/**
 * What a build takes where no source was named: an app, and the one that was named.
 * @throws SkeinError SOURCE_NOT_FOUND, MANIFEST_*
 */
export async function originHere({
  app,
  cwd,
  env,
  tell,
  signal,
}: Pick<FindOptions, "app" | "cwd" | "env" | "tell" | "signal">): Promise<Origin> {
  const here = await originOf(cwd, signal);
  const { origin } = here;
  if (app === null) await refuseBelowManifest(origin, cwd);
  await refuseNewManifest(origin, cwd, signal);
  const { app: own } = app === null ? { app } : await readManifest(origin, { env, signal });
  if (app === own && !(await isApp(origin, { env, signal }))) throw nothingHere(cwd);
  if (app !== own) {
    throw new SkeinError("SOURCE_NOT_FOUND", `${cwd} is the app ${own}, not ${app}`, {
      hint: `Run it in the folder of ${app}, or name a revision: skein deploy ${app} VERSION`,
      data: { path: cwd, app, own },
    });
  }
  tellLeft(here, tell);
  return origin;
}

/** A commit that has a release needs no building again. */
async function meantHere(operator: Operator, here: Here, options: FindOptions): Promise<Meant> {
  const { origin } = here;
  tellLeft(here, options.tell);
  if (origin.kind !== "commit") return { kind: "source", origin };
  const manifest = here.manifest ?? (await manifestOf(origin, options));
  const unknownAt = operator.clock.now();
  const found = await findRelease(operator, manifest.app, origin.commit, options.signal, WITH_TREE);
  if (found === undefined) return { kind: "source", origin, unknownAt };
  return { kind: "release", found, here: { origin, manifest } };
}

export const nothingHere = (cwd: string): SkeinError =>
  new SkeinError("SOURCE_NOT_FOUND", `nothing in ${cwd} says what to deploy`, {
    hint: "Say in skein.yaml how it runs (run: python3 app.py, listen: 8080), name an app and a version, or take plain files with --from .",
    data: { path: cwd },
  });
