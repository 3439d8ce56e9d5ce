import fs from "node:fs/promises";
import path from "node:path";
import {
  appNameFrom,
  MANIFEST_FILE,
  manifestOfTree,
  refuseUnread,
  type TreeReader,
} from "../../app/conventions.ts";
import type { Build, Manifest } from "../../app/manifest.ts";
import { refuseBlocked } from "../../app/writable.ts";
import { errnoOf, SkeinError } from "../../lib/errors/errors.ts";
import { asSkeinError } from "../../lib/disk/files.ts";
import type { TreeSource } from "../../release/tree/tree-source.ts";
import type { Paths } from "../../lib/disk/paths.ts";
import { cacheDir } from "../identity/home.ts";
import { directorySource, isOneOf } from "../../source/directory.ts";
import { build } from "../../source/build.ts";
import { workFolder } from "../../source/work-folder.ts";
import { GitObjects } from "../../source/git-objects.ts";
import { idleGlobs } from "../../source/globs.ts";
import { gitSource } from "../../source/git.ts";
import { packedSource } from "../../source/packed.ts";
import { checkOut, isInWorkTree, placedCommit, uncommitted } from "./git.ts";
import { folderOfApp } from "./folder-of-app.ts";
import { folderReader } from "../../app/tree-readers.ts";
import { commitReader, sourceReader } from "./tree-reader.ts";

/** What is to be released: a folder or file as it is, or a commit of a repository on this machine. */
export type Origin =
  | { readonly kind: "path"; readonly path: string }
  | {
      readonly kind: "commit";
      readonly repo: string;
      readonly commit: string;
      /** Folder in the repository that is released; empty: all of it. */
      readonly folder: string;
      /** The app's name where the manifest gives none. */
      readonly name: string;
    };

export interface OpenedSource extends AsyncDisposable {
  readonly manifest: Manifest;
  readonly source: TreeSource;
}

export interface SourceOptions {
  readonly env: string;
  /** Overrides what the place suggests; an app that the manifest names must be this one. */
  readonly app?: string;
  /** This machine's own: builds' package managers keep things there, and no part of it is ever released. */
  readonly paths: Paths;
  readonly onLine: (line: string) => void;
  /** Of a commit's repository, where they are being read already; left open. */
  readonly objects?: GitObjects | undefined;
  readonly signal: AbortSignal;
}

/**
 * Where a command that names nothing takes its source from: the commit `HEAD` of the repository around `dir`, or
 * the folder itself where there is none. `left` are changes that are not committed and so not released; `isUnborn`: it is
 * the folder, though there is a repository, since nothing was committed in that yet.
 * @throws SkeinError GIT_FAILED where there is one that git does not read: with the folder would go what was never
 *   committed
 */
export async function originOf(
  dir: string,
  signal: AbortSignal,
): Promise<{ origin: Origin; left: readonly string[]; isUnborn: boolean }> {
  const [placed, left] = await Promise.all([placedCommit(dir, "HEAD", signal), uncommitted(dir, signal)]);
  if (placed === undefined) {
    const isUnborn = await isInWorkTree(dir, signal);
    return { origin: { kind: "path", path: dir }, left: [], isUnborn };
  }
  const { repo, commit } = placed;
  const folder = path.relative(repo, await fs.realpath(dir));
  const origin = {
    kind: "commit",
    repo,
    commit,
    folder,
    name: path.basename(folder === "" ? repo : folder),
  } as const;
  return { origin, left, isUnborn: false };
}

/**
 * Opens an origin: reads its manifest and, where that says so, builds and tests it in a clean copy first. The manifest
 * given back is that of what is released, as every node will read it: a build may make or leave out what it rests on.
 * Whoever lists the source is told of what cannot be writable in it.
 * @throws SkeinError SOURCE_NOT_FOUND, MANIFEST_*, BUILD_FAILED, TREE_REFUSED, ARCHIVE_REFUSED, GIT_FAILED
 */
export async function openSource(origin: Origin, options: SourceOptions): Promise<OpenedSource> {
  const stack = new AsyncDisposableStack();
  try {
    const place = await placeOf(origin, stack, options.signal, options.objects);
    await refuseElsewhere(origin, place, options);
    const said = await manifestFor(origin, place.reader, options);
    const { source, reader } = await finished(origin, place, said, stack, options);
    const manifest = reader === place.reader ? said : await manifestFor(origin, reader, options);
    const owned = stack.move();
    return {
      manifest,
      source: withPlaces(source, manifest),
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    };
  } catch (err) {
    await stack.disposeAsync();
    throw err;
  }
}

function withPlaces(source: TreeSource, manifest: Manifest): TreeSource {
  if (manifest.writable.length === 0) return source;
  const entries: TreeSource["entries"] = async (signal) => {
    const all = await source.entries(signal);
    refuseBlocked(manifest, all);
    return all;
  };
  return { ...source, entries };
}

/** Only the manifest of an origin, as it stands there; nothing is built. */
export async function readManifest(
  origin: Origin,
  options: Pick<SourceOptions, "env" | "app" | "signal">,
): Promise<Manifest> {
  await using stack = new AsyncDisposableStack();
  const place = await placeOf(origin, stack, options.signal);
  await refuseElsewhere(origin, place, options);
  return await manifestFor(origin, place.reader, options);
}

/** Is there anything in it that says what it is: a manifest, something that runs, a hook? */
export async function isApp(
  origin: Origin,
  options: Pick<SourceOptions, "env" | "signal">,
): Promise<boolean> {
  await using stack = new AsyncDisposableStack();
  const { reader } = await placeOf(origin, stack, options.signal);
  if ((await reader.list()).some(({ name }) => name === MANIFEST_FILE)) return true;
  return doesSomething(await manifestFor(origin, reader, options));
}

/** Does it run anything, be it a hook? Files alone are what any folder is by conventions. */
export const doesSomething = ({ kind, hooks }: Manifest): boolean =>
  kind === "service" || Object.keys(hooks).length > 0;

/**
 * A folder without a manifest would be deployed by conventions, as files mostly, and end what serves. Who names an app
 * whose manifest lies elsewhere in the commit (and stands at the top of its repository, or in `src`) means that one.
 * @throws SkeinError SOURCE_NOT_FOUND
 */
async function refuseElsewhere(
  origin: Origin,
  { reader, objects }: Place,
  { app, signal }: Pick<SourceOptions, "app" | "signal">,
): Promise<void> {
  if (origin.kind !== "commit" || objects === undefined || app === undefined) return;
  if ((await reader.list()).some(({ name }) => name === MANIFEST_FILE)) return;
  const folder = await folderOfApp(objects, { app, ...origin }, signal);
  if (folder === undefined) return;
  throw new SkeinError(
    "SOURCE_NOT_FOUND",
    `${MANIFEST_FILE} of ${app} is in ${placeIn(folder)}, not in ${placeIn(origin.folder)}`,
    {
      hint: `Run it there, in a checkout: cd ${path.posix.relative(origin.folder, folder)}`,
      data: { app, folder, asked: origin.folder, commit: origin.commit },
    },
  );
}

const placeIn = (folder: string): string => (folder === "" ? "the top of the repository" : folder);

async function manifestFor(
  origin: Origin,
  reader: TreeReader,
  options: Pick<SourceOptions, "env" | "app" | "signal">,
): Promise<Manifest> {
  const name = origin.kind === "path" ? path.basename(await fs.realpath(origin.path)) : origin.name;
  await refuseUnread(reader);
  const app = options.app ?? appNameFrom(name.replace(/(\.tar)?(\.gz)?$|\.tgz$/, ""));
  const manifest = await manifestOfTree(reader, { app, env: options.env, isNew: true });
  if (options.app === undefined || manifest.app === options.app) return manifest;
  throw new SkeinError("MANIFEST_INVALID", `the source is ${manifest.app}, not ${options.app}`, {
    hint: `Deploy it by its own name (${manifest.app}), or change app: in skein.yaml.`,
    data: { app: manifest.app, asked: options.app },
  });
}

/** What an origin turns out to be. An archive is read at once; folders and commits when they are released. */
interface Place {
  readonly reader: TreeReader;
  readonly packed: TreeSource | undefined;
  readonly objects?: GitObjects;
}

async function placeOf(
  origin: Origin,
  stack: AsyncDisposableStack,
  signal: AbortSignal,
  begun?: GitObjects,
): Promise<Place> {
  if (origin.kind === "commit") {
    const { repo, commit, folder } = origin;
    const objects = begun ?? stack.use(new GitObjects(repo));
    return { reader: commitReader(objects, commit, folder, signal), packed: undefined, objects };
  }
  const stat = await fs.stat(origin.path).catch((err: unknown) => {
    if (["ENOENT", "ENOTDIR"].includes(errnoOf(err) ?? "")) return undefined;
    throw err;
  });
  if (stat?.isDirectory() === true) return { reader: folderReader(origin.path), packed: undefined };
  if (stat?.isFile() === true) {
    refuseManifest(origin.path);
    const packed = stack.use(await packedSource(origin.path, signal));
    return { reader: sourceReader(packed, signal), packed };
  }
  throw new SkeinError("SOURCE_NOT_FOUND", `there is nothing to release at ${origin.path}`, {
    data: { path: origin.path },
  });
}

/** As a release of one file it would run without what it speaks of. @throws SkeinError SOURCE_NOT_FOUND */
function refuseManifest(file: string): void {
  if (path.basename(file) !== MANIFEST_FILE) return;
  throw new SkeinError("SOURCE_NOT_FOUND", `${file} says how to run what lies beside it`, {
    hint: `Name its folder: ${path.dirname(file)}`,
    data: { path: file },
  });
}

interface Finished {
  readonly source: TreeSource;
  /** Of what is in it. */
  readonly reader: TreeReader;
}

async function finished(
  origin: Origin,
  { packed, reader, objects }: Place,
  { build: steps }: Manifest,
  stack: AsyncDisposableStack,
  options: SourceOptions,
): Promise<Finished> {
  if (packed !== undefined) return { source: packed, reader };
  // Without its manifest a node would not know what to run.
  const { files } = steps;
  const chosen = files === null ? {} : { files: [...files, MANIFEST_FILE] };
  if (steps.run !== null || steps.test !== null) {
    const dir = await built(origin, steps, stack, options);
    const source = directorySource(dir, { ...(await nameOf(origin)), ...chosen });
    return files !== null ? await chosenOf(source, files, options) : { source, reader: folderReader(dir) };
  }
  const reading = objects === undefined ? {} : { objects };
  const source =
    origin.kind === "path"
      ? directorySource(origin.path, { ...chosen, own: ownOf(options.paths) })
      : stack.use(await gitSource({ ...origin, ...chosen, ...reading }, options.signal));
  return files !== null ? await chosenOf(source, files, options) : { source, reader };
}

/** A source of which a part is chosen has to be listed to know its top; once is enough for that and for a release. */
async function chosenOf(
  whole: TreeSource,
  files: readonly string[],
  { onLine, signal }: SourceOptions,
): Promise<Finished> {
  const entries = await whole.entries(signal);
  const taken = entries.map((entry) => entry.path);
  for (const glob of idleGlobs(files, taken)) onLine(`build.files: nothing is taken by ${glob}`);
  const source = { ...whole, entries: async () => await Promise.resolve(entries) };
  return { source, reader: sourceReader(source, signal) };
}

/** A clean copy in which the build and the test have run. */
async function built(
  origin: Origin,
  { run, test, withinMs }: Build,
  stack: AsyncDisposableStack,
  options: SourceOptions,
): Promise<string> {
  const dir = await cleanCopy(origin, stack, options);
  const { commit } = await nameOf(origin);
  const { onLine, signal } = options;
  const env = { CI: "1", ...proxies(), ...(commit === null ? {} : { SKEIN_COMMIT: commit }) };
  await build({ dir, run, test, withinMs, cacheDir: cacheDir(options.paths), env, onLine, signal });
  return dir;
}

async function nameOf(origin: Origin): Promise<{ readonly commit: string | null; readonly name: string }> {
  if (origin.kind === "commit") return { commit: origin.commit, name: origin.name };
  return { commit: null, name: path.basename(await fs.realpath(origin.path)) };
}

/** How this machine reaches the network is no secret, and a build may have to. */
function proxies(): Record<string, string> {
  const named = Object.entries(process.env).filter(([name]) =>
    /^(https?|no)_proxy$|^NODE_EXTRA_CA_CERTS$/i.test(name),
  );
  return Object.fromEntries(named.map(([name, value]) => [name, value ?? ""]));
}

/** A clean copy that a build may write into. */
async function cleanCopy(
  origin: Origin,
  stack: AsyncDisposableStack,
  { paths, onLine, signal }: SourceOptions,
): Promise<string> {
  const { dir } = stack.use(workFolder(onLine));
  if (origin.kind === "commit") {
    await checkOut(origin.repo, origin.commit, dir, signal);
    return path.join(dir, origin.folder);
  }
  const isOurs = isOneOf(ownOf(paths));
  try {
    await fs.cp(await fs.realpath(origin.path), dir, {
      recursive: true,
      verbatimSymlinks: true,
      filter: async (from) =>
        path.basename(from) !== ".git" && !isOurs(from) && (await isCopied(from, onLine)),
    });
  } catch (err) {
    throw asSkeinError(err, origin.path);
  }
  return dir;
}

/** What a program listens on lies in many a folder. It is no content, and what went away meanwhile is none either. */
async function isCopied(from: string, onLine: (line: string) => void): Promise<boolean> {
  const stat = await fs.lstat(from).catch((err: unknown) => {
    if (errnoOf(err) !== "ENOENT") throw err;
  });
  if (stat === undefined) return false;
  const isContent = stat.isFile() || stat.isDirectory() || stat.isSymbolicLink();
  if (!isContent) onLine(`${path.basename(from)} is not in the build's copy: it is no file`);
  return isContent;
}

/** Keys of the operator, the hub and the node lie there: none of it belongs into a release. */
const ownOf = (paths: Paths): readonly string[] => Object.values(paths);

/** A folder of our own that is gone when the stack is. */
export const scratch = (stack: AsyncDisposableStack): string => stack.use(workFolder()).dir;
