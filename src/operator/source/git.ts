import { execFile } from "node:child_process";
import fs from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { errnoOf, isErrorCode, SkeinError } from "../../lib/errors/errors.ts";

const run = promisify(execFile);

/** What `git rev-parse --local-env-vars` names, but for settings, and what is for pushes that are being received. */
const REDIRECTS =
  /^GIT_(DIR|WORK_TREE|IMPLICIT_WORK_TREE|COMMON_DIR|INDEX_FILE|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES|SHALLOW_FILE|GRAFT_FILE|NO_REPLACE_OBJECTS|REPLACE_REF_BASE|NAMESPACE|PREFIX|QUARANTINE_PATH)$/;

/** Of a repository on this machine. A hook, an alias or a shell may have another one in git's variables. */
async function git(
  cwd: string,
  args: readonly string[],
  signal: AbortSignal,
  more: NodeJS.ProcessEnv = {},
): Promise<string> {
  const kept = Object.entries(process.env).filter(([name]) => !REDIRECTS.test(name));
  const env = { ...Object.fromEntries(kept), ...more };
  const { stdout } = await run("git", ["-C", cwd, ...args], { signal, env, maxBuffer: 64 * 2 ** 20 });
  return stdout.trim();
}

/** A commit of the work tree that a folder lies in. */
export interface PlacedCommit {
  /** The top of the work tree. */
  readonly repo: string;
  readonly commit: string;
}

/** Both at once, in one start of git; undefined where either is not there. */
export async function placedCommit(
  dir: string,
  revision: string,
  signal: AbortSignal,
): Promise<PlacedCommit | undefined> {
  if (revision.startsWith("-")) return undefined;
  const asked = ["rev-parse", "--show-toplevel", "--verify", "--quiet", `${revision}^{commit}`];
  const text = await git(dir, asked, signal).catch((err: unknown) => quiet(err, signal));
  // A folder's name may have line breaks in it.
  const [, repo, commit] = /^([^]+)\n([0-9a-f]+)$/.exec(text ?? "") ?? [];
  return repo === undefined || commit === undefined ? undefined : { repo, commit };
}

/**
 * Does a folder without a commit lie in a work tree, one that nothing was committed in yet?
 * @throws SkeinError GIT_FAILED where it lies in a repository that is none for git: that is not installed, the
 *   repository is another user's, a linked work tree's own is elsewhere
 */
export async function isInWorkTree(dir: string, signal: AbortSignal): Promise<boolean> {
  try {
    return (await git(dir, ["rev-parse", "--is-inside-work-tree"], signal)) === "true";
  } catch (err) {
    signal.throwIfAborted();
    const repo = await repositoryAbove(dir);
    if (repo === undefined) return false;
    const isMissing = errnoOf(err) === "ENOENT";
    const [why = ""] = isMissing ? ["git is not installed"] : stderrOf(err).split("\n");
    throw new SkeinError(
      "GIT_FAILED",
      `the repository ${repo} cannot be read: ${why.replace(/^fatal: /, "")}`,
      {
        hint: `${isMissing ? "Install it" : "What git status says there mends it"}. Or take the folder as it is: --from .`,
        data: { path: dir, repo },
        cause: err,
      },
    );
  }
}

/** Where git would find one: up to where another file system begins. */
async function repositoryAbove(dir: string): Promise<string | undefined> {
  let at = await fs.realpath(dir);
  for (const { dev } = await fs.stat(at); (await fs.stat(at)).dev === dev; at = path.dirname(at)) {
    const found = await fs.lstat(path.join(at, ".git")).catch(() => undefined);
    if (found !== undefined) return at;
    if (at === path.dirname(at)) return undefined;
  }
  return undefined;
}

/** The full commit that a revision (hash, branch, tag, `HEAD~1`) names here, or undefined. */
async function commitOf(repo: string, revision: string, signal: AbortSignal): Promise<string | undefined> {
  if (revision.startsWith("-")) return undefined;
  const found = await git(repo, ["rev-parse", "--verify", "--quiet", `${revision}^{commit}`], signal).catch(
    (err: unknown) => quiet(err, signal),
  );
  return found === "" ? undefined : found;
}

/** Files of the whole repository around `dir` that differ from `HEAD`, untracked ones included, as `git status` shows them. */
export async function uncommitted(dir: string, signal: AbortSignal): Promise<string[]> {
  const text = await git(dir, ["status", "--porcelain"], signal).catch((err: unknown) => quiet(err, signal));
  return (text ?? "").split("\n").filter((line) => line !== "");
}

/** Is there a file of that name in a folder's part of a commit? */
export async function isCommitted(
  dir: string,
  name: string,
  commit: string,
  signal: AbortSignal,
): Promise<boolean> {
  const listed = await git(dir, ["ls-tree", commit, "--", name], signal).catch((err: unknown) =>
    quiet(err, signal),
  );
  return listed !== "";
}

/** Is a file one that git is told to leave alone? */
export async function ignored(dir: string, name: string, signal: AbortSignal): Promise<boolean> {
  const said = await git(dir, ["check-ignore", "--", name], signal).catch((err: unknown) =>
    quiet(err, signal),
  );
  return said !== undefined;
}

function quiet(_err: unknown, signal: AbortSignal): undefined {
  signal.throwIfAborted();
}

/** A clean checkout of one commit in `into`, sharing the repository's objects. @throws SkeinError GIT_FAILED */
export async function checkOut(
  repo: string,
  commit: string,
  into: string,
  signal: AbortSignal,
): Promise<void> {
  try {
    const quietly = ["-c", "advice.detachedHead=false", "-c", "core.hooksPath=/dev/null"];
    await git(repo, [...quietly, "clone", "--quiet", "--shared", "--no-checkout", ".", into], signal);
    await git(into, [...quietly, "checkout", "--quiet", "--detach", commit], signal);
  } catch (err) {
    throw failed(err, `cannot check out ${commit.slice(0, 12)}`, signal);
  }
  await fs.rm(path.join(into, ".git"), { recursive: true, force: true });
}

export interface HubFetch {
  readonly url: string;
  /** A commit, or null: the repository's default branch. */
  readonly commit: string | null;
  /** An empty folder that becomes a bare repository. */
  readonly into: string;
  /** Folder with `git-remote-skein`, which git looks for on its PATH. */
  readonly helperDir: string;
}

/** Fetches from the hub's repository; git itself checks that what came is what was asked for. Returns the commit. */
export async function fetchFromHub(options: HubFetch, signal: AbortSignal): Promise<string> {
  const { url, commit, into, helperDir } = options;
  const PATH = `${helperDir}${path.delimiter}${process.env["PATH"] ?? ""}`;
  try {
    await git(into, ["init", "--quiet", "--bare"], signal);
    // As a pattern, since a HEAD that leads nowhere is none: other branches may still be there.
    const refs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*", "+HEAD*:refs/skein/head*"];
    await git(into, ["fetch", "--quiet", url, ...refs], signal, { PATH });
  } catch (err) {
    throw failed(err, `cannot fetch from ${url}`, signal);
  }
  const found = await commitOf(into, commit ?? "refs/skein/head", signal);
  if (found !== undefined) return found;
  if (commit === null)
    throw new SkeinError("COMMIT_NOT_FOUND", `${url} has no commit`, {
      hint: `Push it: git push ${url} main`,
      data: { url, commit },
    });
  throw new SkeinError("COMMIT_NOT_FOUND", `neither a repository here nor ${url} has ${commit}`, {
    hint: `See what there is: skein releases ${path.basename(url)}; or push it: git push ${url} ${commit}`,
    data: { url, commit },
  });
}

/**
 * The commit that a tag or branch of the hub's repository names, without a copy of it; undefined: there is none.
 * @throws SkeinError GIT_FAILED and what the helper says
 */
export async function commitOnHub(
  { url, helperDir }: Pick<HubFetch, "url" | "helperDir">,
  name: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const PATH = `${helperDir}${path.delimiter}${process.env["PATH"] ?? ""}`;
  // A tag that is an object of its own has the commit in a line of its own.
  const refs = [`refs/tags/${name}^{}`, `refs/tags/${name}`, `refs/heads/${name}`];
  const listed = await git(helperDir, ["ls-remote", url, ...refs], signal, { PATH }).catch((err: unknown) => {
    throw failed(err, `cannot ask ${url}`, signal);
  });
  const found = new Map(
    listed.split("\n").map((line) => [line.slice(line.indexOf("\t") + 1), line] as const),
  );
  return refs.map((ref) => found.get(ref)?.split("\t")[0]).find((commit) => commit !== undefined);
}

/** As the helper, or git for a hub, says what the hub or the way to it has against a call, and what to do next. */
const SAID = /^(?:skein|remote|fatal: remote error): (.+) \[([A-Z_]+)\] *\n(?:(?:skein|remote): )?(.+?) *$/m;

function failed(err: unknown, what: string, signal: AbortSignal): unknown {
  signal.throwIfAborted();
  const text = stderrOf(err);
  const [, said, code = "", hint = ""] = SAID.exec(text) ?? [];
  if (isErrorCode(code)) return new SkeinError(code, `${what}: ${said}`, { hint, cause: err });
  return new SkeinError("GIT_FAILED", `${what}${text === "" ? "" : `: ${text}`}`, { cause: err });
}

const stderrOf = (err: unknown): string =>
  err instanceof Error && "stderr" in err ? String(err.stderr).trim() : "";
