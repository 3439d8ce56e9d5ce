import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { atEnd } from "../lib/at-end.fixture.ts";
import { fetchFromHub, placedCommit } from "./git.ts";

const SOMEBODY = ["-c", "user.name=a", "-c", "user.email=a@b"] as const;

const git = (cwd: string, ...args: string[]): string =>
  execFileSync("git", [...SOMEBODY, ...args], { cwd, encoding: "utf8" }).trim();

test("whatever repository git's variables name, only the one that was asked for is read, and none of the user's is written", async (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "git-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  const [theirs, mine] = [repository(dir, "theirs"), repository(dir, "mine")];
  git(mine.dir, "branch", "precious");
  git(theirs.dir, "branch", "precious");
  const before = git(mine.dir, "for-each-ref");
  const into = path.join(dir, "into");
  fs.mkdirSync(into);
  // As a hook of a linked work tree has them, or a shell that keeps dot files in a repository.
  const gitDir = path.join(mine.dir, ".git");
  setEnv(t, { GIT_DIR: gitDir, GIT_COMMON_DIR: gitDir });
  setEnv(t, { GIT_OBJECT_DIRECTORY: path.join(gitDir, "objects") });
  const options = { url: theirs.dir, commit: theirs.commit, into, helperDir: dir };
  assert.equal(await fetchFromHub(options, t.signal), theirs.commit);
  assert.deepEqual(await placedCommit(theirs.dir, "HEAD", t.signal), {
    repo: fs.realpathSync(theirs.dir),
    commit: theirs.commit,
  });
  for (const name of NAMES) delete process.env[name];
  assert.equal(git(mine.dir, "for-each-ref"), before);
});

const NAMES = ["GIT_DIR", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"];

function repository(dir: string, name: string): { readonly dir: string; readonly commit: string } {
  const repo = path.join(dir, name);
  git(dir, "init", "-q", "-b", "main", name);
  git(repo, "commit", "-q", "--allow-empty", "-m", name);
  return { dir: repo, commit: git(repo, "rev-parse", "HEAD") };
}

function setEnv(t: TestContext, values: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(values)) {
    process.env[name] = value;
    atEnd(t, () => delete process.env[name]);
  }
}
