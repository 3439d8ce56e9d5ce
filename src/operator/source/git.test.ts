import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { fetchFromHub, placedCommit } from "./git.ts";
import { originOf } from "./source.ts";

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

/** An empty folder, and one with a repository in it that has `main` and the tag `v1`. */
function theirs(t: TestContext) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "git-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  const { dir: url, commit } = repository(dir, "theirs");
  git(url, "tag", "-a", "v1", "-m", "v1");
  const fetch = async (named: string | null): Promise<string> => {
    const into = fs.mkdtempSync(path.join(dir, "into-"));
    return await fetchFromHub({ url, commit: named, into, helperDir: dir }, t.signal);
  };
  return { dir, url, commit, fetch };
}

test("branches and tags are found where HEAD leads nowhere, and where no branch is left", async (t) => {
  const { url, commit, fetch } = theirs(t);
  assert.equal(await fetch(null), commit);
  git(url, "symbolic-ref", "HEAD", "refs/heads/none");
  assert.equal(await fetch("main"), commit);
  await assert.rejects(fetch(null), { code: "COMMIT_NOT_FOUND" });
  git(url, "branch", "-D", "main");
  assert.equal(await fetch("v1"), commit);
  assert.equal(await fetch(commit), commit);
  await assert.rejects(fetch("main"), {
    code: "COMMIT_NOT_FOUND",
    message: `neither a repository here nor ${url} has main`,
    hint: `See what there is: skein releases ${path.basename(url)}; or push it: git push ${url} main`,
  });
});

for (const [who, lines] of [
  ["the helper", ["skein: too many of them [TOO_MANY]", "skein: Wait."]],
  [
    "git, of the other side",
    ["remote: x", "remote: too many of them [TOO_MANY]   ", "remote: Wait.   ", "fatal: y"],
  ],
  ["git, at the end", ["fatal: remote error: too many of them [TOO_MANY]", "Wait."]],
] as const) {
  test(`what ${who} says is the failure, with its code and what to do next`, async (t) => {
    const { dir } = theirs(t);
    const helper = ["#!/bin/sh", ...lines.map((line) => `echo '${line}' >&2`), "exit 1", ""].join("\n");
    fs.writeFileSync(path.join(dir, "git-remote-skein"), helper, { mode: 0o755 });
    const into = fs.mkdtempSync(path.join(dir, "into-"));
    const options = { url: "skein://hub/web", commit: null, into, helperDir: dir };
    await assert.rejects(fetchFromHub(options, t.signal), {
      code: "TOO_MANY",
      message: "cannot fetch from skein://hub/web: too many of them",
      hint: "Wait.",
    });
  });
}

const NAMES = ["GIT_DIR", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"];

function repository(dir: string, name: string): { readonly dir: string; readonly commit: string } {
  const repo = path.join(dir, name);
  git(dir, "init", "-q", "-b", "main", name);
  git(repo, "commit", "-q", "--allow-empty", "-m", name);
  return { dir: repo, commit: git(repo, "rev-parse", "HEAD") };
}

function setEnv(t: TestContext, values: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(values)) {
    const before = process.env[name];
    process.env[name] = value;
    atEnd(t, () => {
      if (before === undefined) delete process.env[name];
      else process.env[name] = before;
    });
  }
}

test("a folder is released as it is where there is no commit, and not where git cannot read the repository", async (t) => {
  const { dir } = theirs(t);
  const plain = path.join(dir, "plain");
  fs.mkdirSync(path.join(plain, "app"), { recursive: true });
  const at = path.join(plain, "app");
  const asItIs = { origin: { kind: "path", path: at }, left: [], isUnborn: false };
  assert.deepEqual(await originOf(at, t.signal), asItIs);
  git(plain, "init", "-q");
  assert.deepEqual(await originOf(at, t.signal), { ...asItIs, isUnborn: true });
  const refused = async (message: RegExp, hint = /--from \.$/): Promise<void> => {
    await assert.rejects(originOf(at, t.signal), { code: "GIT_FAILED", message, hint });
  };
  // As in a container whose user is not the checkout's owner.
  setEnv(t, { GIT_TEST_ASSUME_DIFFERENT_OWNER: "1" });
  await refused(/^the repository .*plain cannot be read: detected dubious ownership/);
  delete process.env["GIT_TEST_ASSUME_DIFFERENT_OWNER"];
  setEnv(t, { PATH: path.join(dir, "none") });
  await refused(/: git is not installed$/, /^Install it\. .*--from \.$/);
});

test("a linked work tree without its repository is not released as a folder", async (t) => {
  const { dir, url } = theirs(t);
  const linked = path.join(dir, "linked");
  git(url, "worktree", "add", "-q", linked);
  assert.equal((await originOf(linked, t.signal)).origin.kind, "commit");
  fs.renameSync(url, `${url}-moved`);
  await assert.rejects(originOf(linked, t.signal), { code: "GIT_FAILED", message: /not a git repository/ });
});
