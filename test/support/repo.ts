import { execFile } from "node:child_process";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** A git repository with a work tree, on branch `master`. */
export interface SourceRepo {
  readonly dir: string;
  /** Writes the files (path -> text) and commits everything. @returns the 40-digit commit */
  commit(files: Readonly<Record<string, string>>, message?: string): Promise<string>;
  git(...args: string[]): Promise<string>;
}

/** git's environment: the same on every machine, and the configuration of nobody. */
export function gitEnv(): NodeJS.ProcessEnv {
  return {
    PATH: process.env["PATH"],
    HOME: os.tmpdir(),
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_CONFIG_COUNT: "2",
    GIT_CONFIG_KEY_0: "init.defaultBranch",
    GIT_CONFIG_VALUE_0: "master",
    GIT_CONFIG_KEY_1: "gc.auto",
    GIT_CONFIG_VALUE_1: "0",
    GIT_AUTHOR_NAME: "A Tester",
    GIT_AUTHOR_EMAIL: "tester@example.org",
    GIT_COMMITTER_NAME: "A Tester",
    GIT_COMMITTER_EMAIL: "tester@example.org",
    GIT_TERMINAL_PROMPT: "0",
  };
}

export async function sourceRepo(dir: string): Promise<SourceRepo> {
  await fs.mkdir(dir, { recursive: true });
  const git = async (...args: string[]): Promise<string> => {
    const { stdout } = await run("git", args, { cwd: dir, env: gitEnv() });
    return stdout.trim();
  };
  await git("init", "-q");
  return {
    dir,
    git,
    commit: async (files, message = "a version") => {
      for (const [name, text] of Object.entries(files)) {
        await fs.mkdir(path.dirname(path.join(dir, name)), { recursive: true });
        await fs.writeFile(path.join(dir, name), text);
      }
      await git("add", "-A");
      await git("commit", "-q", "-m", message);
      return await git("rev-parse", "HEAD");
    },
  };
}
