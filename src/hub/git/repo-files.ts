/** What stands in a repository's folder, read without a git, and what of it is damaged. */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import fs from "node:fs/promises";
import path from "node:path";
import { errnoOf, SkeinError } from "../../lib/errors/errors.ts";

const FSCK_MS = 30_000;

/** @throws SkeinError REPO_DAMAGED when something else than a folder is in its place */
export async function isThere(dir: string): Promise<boolean> {
  try {
    if ((await fs.lstat(dir)).isDirectory()) return true;
  } catch (err) {
    if (errnoOf(err) === "ENOENT") return false;
    throw err;
  }
  throw damaged(dir, "it is no folder");
}

/**
 * What git has against the repository; undefined when that is nothing, or takes too long to find out.
 * @param git words and environment of a git
 */
export async function findDamage(
  dir: string,
  { words, env }: { readonly words: readonly string[]; readonly env: NodeJS.ProcessEnv },
  signal: AbortSignal,
): Promise<SkeinError | undefined> {
  const barred = await findBarred(dir);
  if (barred !== undefined) return barred;
  const fsck = ["--git-dir", dir, "fsck", "--full", "--no-dangling", "--no-progress"];
  const { promise, resolve } = Promise.withResolvers<SkeinError | undefined>();
  execFile("git", [...words, ...fsck], { env, signal, timeout: FSCK_MS }, (err, stdout, stderr) => {
    const isFound = err !== null && typeof err.code === "number";
    const lines = `${stderr}\n${stdout}`.split("\n").filter((line) => line !== "");
    resolve(isFound ? damaged(dir, lines[0] ?? "git fsck fails") : undefined);
  });
  return await promise;
}

/** What the hub's user may not use cannot be judged; moving it away would be too much. */
async function findBarred(dir: string): Promise<SkeinError | undefined> {
  const { R_OK, W_OK, X_OK } = fs.constants;
  for (const place of ["", "objects", "refs"]) {
    try {
      await fs.access(path.join(dir, place), R_OK | W_OK | X_OK);
    } catch (err) {
      const errno = errnoOf(err) ?? "";
      if (!["EACCES", "EPERM", "EROFS"].includes(errno)) return undefined;
      const hint = `On the hub's machine let the hub's user read and write ${dir} and all in it.`;
      return damaged(dir, `${errno} at ${path.join(dir, place)}`, hint);
    }
  }
  return undefined;
}

function damaged(dir: string, said: string, hint?: string): SkeinError {
  const repo = path.basename(dir, ".git");
  const away = `On the hub's machine move ${dir} away, then push all branches again; git fsck there tells the rest.`;
  return new SkeinError("REPO_DAMAGED", `the hub's repository ${repo} is damaged: ${said}`, {
    hint: hint ?? away,
    data: { repo, dir, said },
  });
}

/** Names under refs/, loose and packed. */
async function refsOf(dir: string): Promise<string[]> {
  const refs = path.join(dir, "refs");
  const loose = await fs.readdir(refs, { recursive: true, withFileTypes: true }).catch(() => []);
  const packed = await fs.readFile(path.join(dir, "packed-refs"), "utf8").catch(() => "");
  const names = loose
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(refs, path.join(entry.parentPath, entry.name)));
  for (const [, name] of packed.matchAll(/^[0-9a-f]+ refs\/(.+)$/gm)) names.push(name ?? "");
  return [...new Set(names)].sort();
}

export const hasRefs = async (dir: string): Promise<boolean> => (await refsOf(dir)).length > 0;

/** Where HEAD names no branch, cloning gives an empty folder: point it at the likeliest branch that is there. */
export async function pointHead(dir: string): Promise<void> {
  const branches = (await refsOf(dir))
    .filter((name) => name.startsWith("heads/"))
    .map((name) => name.slice("heads/".length));
  const current = await headOf(dir);
  if (branches.length === 0 || (current !== null && branches.includes(current))) return;
  const branch = ["main", "master"].find((name) => branches.includes(name)) ?? branches[0] ?? "main";
  // Another push may be at it, too.
  const aside = path.join(dir, `HEAD.${randomBytes(6).toString("hex")}.new`);
  await fs.writeFile(aside, `ref: refs/heads/${branch}\n`);
  await fs.rename(aside, path.join(dir, "HEAD"));
}

export async function headOf(dir: string): Promise<string | null> {
  const text = await fs.readFile(path.join(dir, "HEAD"), "utf8").catch(() => "");
  return /^ref: refs\/heads\/(.+)$/m.exec(text)?.[1] ?? null;
}
