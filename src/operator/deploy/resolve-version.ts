import fs from "node:fs/promises";
import path from "node:path";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { commitOnHub, fetchFromHub, placedCommit } from "../source/git.ts";
import type { Operator } from "../identity/operator.ts";
import { DROPPED } from "../order/order.ts";
import { findRelease, noRelease, WITH_TREE, type FoundRelease } from "../release/release.ts";
import { scratch, type Origin } from "../source/source.ts";

type CommitOrigin = Origin & { readonly kind: "commit" };

/** What a version word stands for: a release that is published, or a commit to make one of. */
export type Version =
  | { readonly kind: "release"; readonly found: FoundRelease }
  | {
      readonly kind: "commit";
      readonly origin: CommitOrigin;
      /** When the hub knew no release of it, in ms since the epoch. */
      readonly unknownAt: number;
    };

export interface ResolveOptions {
  readonly app: string;
  /** A release id or its prefix, `app@prefix`, or anything git resolves; null: the app's newest commit on the hub. */
  readonly version: string | null;
  /** Where a repository may be. */
  readonly cwd: string;
  /** Folder with `git-remote-skein`. */
  readonly helperDir: string;
  /** Owns what is fetched. */
  readonly stack: AsyncDisposableStack;
  /** Told as soon as the version is known to be a commit here; it may still turn out to be something else. */
  readonly onHere?: (origin: CommitOrigin) => void;
  readonly signal: AbortSignal;
}

/**
 * Finds out what is meant: a release that the hub knows, a commit here, a commit on the hub, in this order. What can
 * be read in two ways is refused with both.
 * @throws SkeinError AMBIGUOUS, COMMIT_NOT_FOUND, RELEASE_NOT_FOUND
 */
export async function resolveVersion(operator: Operator, options: ResolveOptions): Promise<Version> {
  const { app, version, signal } = options;
  if (version === null) return await fromHub(operator, options);
  const unknownAt = operator.clock.now();
  const [release, local] = await Promise.all([
    findRelease(operator, app, version, signal, WITH_TREE),
    commitHere(options.cwd, version, signal).then((here) => {
      if (here !== undefined) options.onHere?.(here);
      return here;
    }),
  ]);
  if (release !== undefined && local !== undefined && release.release.commit !== local.commit) {
    if (isNamedByCommit(release, version)) return { kind: "release", found: release };
    throw new SkeinError("AMBIGUOUS", `${version} is both a release and a revision of the repository here`, {
      hint: `Type ${app}@${release.id} for the release, or ${local.commit} for the commit.`,
      data: { release: release.id, commit: local.commit },
    });
  }
  if (release !== undefined && (local === undefined || !isDropped(release))) {
    refuseDropped(release, version);
    return { kind: "release", found: release };
  }
  if (local === undefined) return await fromHub(operator, options);
  const made =
    local.commit === version ? undefined : await findRelease(operator, app, local.commit, signal, WITH_TREE);
  return releaseOr(made, { kind: "commit", origin: local, unknownAt });
}

const isDropped = ({ droppedBuilder }: FoundRelease): boolean => droppedBuilder !== undefined;

/** The commit's release, where no node would refuse it. */
const releaseOr = (made: FoundRelease | undefined, commit: Version): Version =>
  made === undefined || isDropped(made) ? commit : { kind: "release", found: made };

/** @throws SkeinError DOC_UNSIGNED, as nodes that lack it would say */
export function refuseDropped({ id, release, droppedBuilder }: FoundRelease, version: string): void {
  if (droppedBuilder === undefined) return;
  const { app, commit } = release;
  const again =
    commit === null ? "deploy what it was made of" : `deploy ${app} ${commit.slice(0, 12)} where that is`;
  throw new SkeinError("DOC_UNSIGNED", `${app}@${version} was signed by ${droppedBuilder}, ${DROPPED}`, {
    hint: `Nodes that lack it do not take it. Sign it anew: ${again}. To go back to it where it is: skein rollback ${app} --to ${id.slice(0, 8)}`,
    data: { app, release: id, commit },
  });
}

const isNamedByCommit = ({ release }: FoundRelease, version: string): boolean =>
  release.commit?.startsWith(version) === true;

export async function commitHere(
  cwd: string,
  version: string,
  signal: AbortSignal,
): Promise<CommitOrigin | undefined> {
  const placed = await placedCommit(cwd, version, signal);
  if (placed === undefined) return undefined;
  const { repo, commit } = placed;
  const folder = path.relative(repo, cwd);
  return { kind: "commit", repo, commit, folder, name: path.basename(folder === "" ? repo : folder) };
}

/** Where the app's repository is on the hub; undefined where there is none. */
async function repoOnHub(
  { client }: Operator,
  app: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const repos = await client.repos(signal);
  if (!repos.some(({ name }) => name === app)) return undefined;
  return repoUrl(client, app);
}

const repoUrl = ({ name }: Operator["client"], app: string): string =>
  `skein://${name.replace(/^hub /, "")}/${app}`;

interface PublishedWish extends Pick<ResolveOptions, "app" | "cwd" | "helperDir" | "signal"> {
  readonly version: string;
}

/**
 * The published release that a version means: itself, or that of the commit which it names in the repository here, or
 * as a tag or branch of the hub's.
 * @throws SkeinError RELEASE_NOT_FOUND
 */
export async function publishedRelease(operator: Operator, wish: PublishedWish): Promise<FoundRelease> {
  const { app, version, cwd, signal } = wish;
  const commit = (await placedCommit(cwd, version, signal))?.commit;
  const found =
    (await findRelease(operator, app, version, signal)) ??
    (commit === undefined
      ? await releaseOfRef(operator, wish)
      : await findRelease(operator, app, commit, signal));
  if (found === undefined) throw noRelease(app, version);
  return found;
}

/** The release of the commit that a tag or branch of the app's repository on the hub names. */
async function releaseOfRef(
  operator: Operator,
  { app, version: name, helperDir, signal }: PublishedWish,
): Promise<FoundRelease | undefined> {
  if (/^[0-9a-f]{4,64}$/.test(name)) return undefined; // a release or a commit, which was asked for before
  const url = await repoOnHub(operator, app, signal);
  const commit = url === undefined ? undefined : await commitOnHub({ url, helperDir }, name, signal);
  return commit === undefined ? undefined : await findRelease(operator, app, commit, signal);
}

async function fromHub(operator: Operator, options: ResolveOptions): Promise<Version> {
  const { app, version, signal } = options;
  const url = await repoOnHub(operator, app, signal);
  if (url === undefined) throw await notFound(operator, options);
  const into = scratch(options.stack);
  const commit = await fetchFromHub({ url, commit: version, into, helperDir: options.helperDir }, signal);
  const unknownAt = operator.clock.now();
  const made = await findRelease(operator, app, commit, signal, WITH_TREE).catch((err: unknown) => {
    if (isSkeinError(err, "RELEASE_NOT_FOUND")) return undefined;
    throw err;
  });
  const origin = { kind: "commit", repo: into, commit, folder: "", name: app } as const;
  return releaseOr(made, { kind: "commit", origin, unknownAt });
}

async function notFound(
  { client }: Operator,
  { app, version, cwd }: Pick<ResolveOptions, "app" | "version" | "cwd">,
): Promise<SkeinError> {
  if (version === null) {
    return new SkeinError(
      "COMMIT_NOT_FOUND",
      `there is neither a manifest of ${app} here nor a repository ${app} on the hub`,
      { hint: await whereItMayBe(app, cwd, repoUrl(client, app)), data: { app } },
    );
  }
  return new SkeinError(
    "COMMIT_NOT_FOUND",
    `${version} is no release of ${app}, no commit here, and the hub has no repository ${app}`,
    {
      hint: `List what there is: skein releases ${app}`,
      data: { app, version },
    },
  );
}

async function whereItMayBe(app: string, cwd: string, url: string): Promise<string> {
  if (path.basename(cwd) === app)
    return "Say in skein.yaml how it runs (run: python3 app.py, listen: 8080), or take plain files with --from .";
  const isFile = await fs.stat(path.join(cwd, app)).then(
    () => true,
    () => false,
  );
  if (isFile) return `${app} here is named as a path: ./${app}.`;
  return `Push it: git push ${url} main; or run this in its folder. If it is a version: --version ${app}.`;
}
