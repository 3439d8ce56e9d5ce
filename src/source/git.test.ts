import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { directoryDepot } from "../depot/directory/directory.ts";
import { publish } from "../release/publish/publish.ts";
import type { TreeSource } from "../release/tree/tree-source.ts";
import { PATIENCE_MS } from "../lib/testing/patience.fixture.ts";
import { directorySource } from "./directory.ts";
import { gitSource } from "./git.ts";
import { packedSource } from "./packed.ts";
import { contents, tempDir } from "./source.fixture.ts";

const WHO = {
  GIT_AUTHOR_NAME: "a",
  GIT_AUTHOR_EMAIL: "a@b",
  GIT_COMMITTER_NAME: "a",
  GIT_COMMITTER_EMAIL: "a@b",
};

function git(repo: string, ...args: string[]): string {
  const env = { ...process.env, ...WHO, GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_NOSYSTEM: "1" };
  return execFileSync("git", ["-C", repo, ...args], {
    env,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  }).trim();
}

function repository(t: TestContext): { repo: string; commit: string } {
  const repo = tempDir(t);
  git(repo, "init", "-q", "-b", "main");
  fs.mkdirSync(path.join(repo, "app/lib"), { recursive: true });
  fs.writeFileSync(path.join(repo, "app/lib/a.js"), "1;\n");
  fs.writeFileSync(path.join(repo, "app/lib/same.js"), "1;\n");
  fs.writeFileSync(path.join(repo, "app/run"), "#!/bin/sh\n", { mode: 0o755 });
  fs.symlinkSync("lib/a.js", path.join(repo, "app/link"));
  fs.writeFileSync(path.join(repo, "README.md"), "r".repeat(200_000));
  fs.writeFileSync(path.join(repo, "empty"), "");
  fs.writeFileSync(path.join(repo, ".gitattributes"), "*.js export-ignore\n");
  git(repo, "add", "-A");
  git(repo, "commit", "-qm", "one");
  return { repo, commit: git(repo, "rev-parse", "HEAD") };
}

test("a commit is read without a checkout: what git's hash covers, nothing else", async (t) => {
  const { repo, commit } = repository(t);
  fs.writeFileSync(path.join(repo, "untracked"), "no");
  await using source = await gitSource({ repo, commit }, t.signal);
  assert.equal(source.commit, commit);
  assert.deepEqual(await contents(t, source), {
    ".gitattributes": "f:*.js export-ignore\n",
    "README.md": `f:${"r".repeat(200_000)}`,
    app: "d",
    "app/lib": "d",
    "app/lib/a.js": "f:1;\n",
    "app/lib/same.js": "f:1;\n",
    "app/link": "l:lib/a.js",
    "app/run": "x:#!/bin/sh\n",
    empty: "f:",
  });
});

test("the same content is the same tree: of a commit, a folder or an archive, whoever has it, however old", async (t) => {
  const { repo, commit } = repository(t);
  const treeOf = async (source: TreeSource): Promise<string> => {
    const depot = directoryDepot(path.join(tempDir(t), "depot"));
    const options = { previous: null, now: Date.now(), cacheDir: null, signal: t.signal };
    return (await publish({ ...options, source, depot })).tree;
  };
  await using committed = await gitSource({ repo, commit }, t.signal);
  const tree = await treeOf(committed);
  assert.equal(await treeOf(directorySource(repo)), tree);

  const other = path.join(tempDir(t), "other");
  fs.cpSync(repo, other, { recursive: true, verbatimSymlinks: true });
  for (const name of fs.readdirSync(other, { recursive: true, encoding: "utf8" })) {
    const at = path.join(other, name);
    if (process.getuid?.() === 0) fs.lchownSync(at, 4711, 4711);
    fs.lutimesSync(at, 1_000_000, 1_000_000);
    const stat = fs.lstatSync(at);
    if (!stat.isSymbolicLink()) fs.chmodSync(at, stat.mode & 0o700);
  }
  assert.equal(await treeOf(directorySource(other)), tree);
  for (const [name, flag] of [
    ["app.tar", "-cf"],
    ["app.tgz", "-czf"],
  ] as const) {
    const file = path.join(tempDir(t), name);
    execFileSync("tar", [flag, file, "--exclude=.git", "--sort=name", "-C", other, "."]);
    await using packed = await packedSource(file, t.signal);
    assert.equal(await treeOf(packed), tree, name);
  }
  fs.chmodSync(path.join(other, "app/run"), 0o600);
  assert.notEqual(await treeOf(directorySource(other)), tree, "whether it runs is content");
});

test("what a commit holds only a pointer of is told: submodules, files of Git LFS", async (t) => {
  const { repo, commit } = repository(t);
  const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
  const dir = path.join(repo, "app/media");
  fs.mkdirSync(dir);
  fs.writeFileSync(path.join(dir, "a.png"), pointer);
  fs.writeFileSync(path.join(dir, "guide.md"), `${"As in ".repeat(300)}${pointer}`);
  git(repo, "add", "-A");
  git(repo, "update-index", "--add", "--cacheinfo", `160000,${commit},app/lib-c`);
  git(repo, "commit", "-qm", "media");
  const notes = async (): Promise<readonly string[]> => {
    const at = { repo, commit: git(repo, "rev-parse", "HEAD"), folder: "app" };
    await using source = await gitSource(at, t.signal);
    return source.notes;
  };
  const submodule = "lib-c is a submodule: its folder is empty";
  const told = "media/a.png is a pointer of Git LFS, not the content; --from . takes a checkout that has it";
  assert.deepEqual((await notes()).toSorted(), [submodule, told]);
  fs.writeFileSync(path.join(dir, "b.png"), pointer.replace("9", "8"));
  git(repo, "add", "app/media");
  git(repo, "commit", "-qm", "more");
  assert.match((await notes()).join("\n"), /^media\/a\.png and 1 more are pointers of Git LFS/m);
});

test("a folder of very many files is read (long)", async (t) => {
  const repo = tempDir(t);
  git(repo, "init", "-q");
  const pipe = (input: string, ...args: string[]): string =>
    execFileSync("git", ["-C", repo, ...args], {
      input,
      env: { ...process.env, ...WHO },
      encoding: "utf8",
    }).trim();
  const blob = pipe("x", "hash-object", "-w", "--stdin");
  const names = Array.from({ length: 150_000 }, (_, n) => `100644 blob ${blob}\t${n}\n`);
  const commit = pipe("", "commit-tree", pipe(names.join(""), "mktree"), "-m", "many");
  await using source = await gitSource({ repo, commit }, t.signal);
  assert.equal((await source.entries(t.signal)).length, names.length);
});

test("a folder of it, chosen files, a bare repository", async (t) => {
  const { repo, commit } = repository(t);
  const bare = path.join(tempDir(t), "web.git");
  git(repo, "clone", "-q", "--bare", repo, bare);
  await using source = await gitSource(
    { repo: bare, commit, folder: "app", files: ["lib", "!**/same.js"] },
    t.signal,
  );
  assert.equal(source.name, "web");
  assert.deepEqual(await contents(t, source), { lib: "d", "lib/a.js": "f:1;\n" });
  await assert.rejects(gitSource({ repo: bare, commit, folder: "none" }, t.signal), {
    code: "SOURCE_NOT_FOUND",
  });
});

test("a commit that is not there, or not a commit, is COMMIT_NOT_FOUND", async (t) => {
  const { repo, commit } = repository(t);
  const tree = git(repo, "rev-parse", `${commit}^{tree}`);
  for (const other of ["0".repeat(40), tree, "main", "-h"]) {
    await assert.rejects(gitSource({ repo, commit: other }, t.signal), { code: "COMMIT_NOT_FOUND" });
  }
});

test("a replaced or damaged object does not pass for the commit asked for", async (t) => {
  const { repo, commit } = repository(t);
  fs.writeFileSync(path.join(repo, "README.md"), "other");
  git(repo, "commit", "-qam", "two");
  git(repo, "replace", commit, "HEAD");
  await using source = await gitSource({ repo, commit }, t.signal);
  assert.equal((await contents(t, source))["README.md"]?.length, 200_002);

  const blob = git(repo, "rev-parse", "HEAD:README.md");
  const other = git(repo, "rev-parse", "HEAD:empty");
  const objectFile = (id: string): string => path.join(repo, ".git/objects", id.slice(0, 2), id.slice(2));
  fs.chmodSync(objectFile(blob), 0o644);
  fs.copyFileSync(objectFile(other), objectFile(blob));
  const head = git(repo, "rev-parse", "HEAD");
  await assert.rejects(gitSource({ repo, commit: head }, t.signal), (err: Error & { code?: string }) =>
    ["COMMIT_MISMATCH", "GIT_FAILED"].includes(err.code ?? ""),
  );
});

test("a commit whose tree is no list of files is refused", { timeout: PATIENCE_MS }, async (t) => {
  const { repo } = repository(t);
  const bytes: Record<string, Buffer> = {
    "no end of a name": Buffer.from("100644 a".padEnd(60, "x")),
    "no space": Buffer.from(`100644\0${"x".repeat(20)}`),
    "a hash cut off": Buffer.from("100644 a\0abc"),
  };
  for (const [what, tree] of Object.entries(bytes)) {
    const input = { cwd: repo, input: tree, env: { ...process.env, ...WHO } };
    const id = execFileSync("git", ["hash-object", "-t", "tree", "-w", "--literally", "--stdin"], input);
    const commit = git(repo, "commit-tree", "-m", what, id.toString().trim());
    await assert.rejects(gitSource({ repo, commit }, t.signal), { code: "TREE_REFUSED" }, what);
  }
});

test("a folder that is no repository is GIT_FAILED with git's words", async (t) => {
  const repo = tempDir(t);
  await assert.rejects(gitSource({ repo, commit: "0".repeat(40) }, t.signal), {
    code: "GIT_FAILED",
    message: /not a git/,
  });
});

test("what is no commit is refused, whatever else has that hash", async (t) => {
  const { repo, commit } = repository(t);
  for (const object of [`${commit}^{tree}`, `${commit}:README.md`, "v1"]) {
    git(repo, "tag", "-afm", "one", "v1", commit);
    const hash = git(repo, "rev-parse", object);
    await assert.rejects(gitSource({ repo, commit: hash }, t.signal), {
      code: "COMMIT_NOT_FOUND",
      message: `${hash} is not a commit`,
    });
  }
});

test("an entry of a mode that git knows nothing of is refused by name", async (t) => {
  const { repo, commit } = repository(t);
  const blob = Buffer.from(git(repo, "rev-parse", `${commit}:README.md`), "hex");
  const file = path.join(repo, "odd");
  fs.writeFileSync(file, Buffer.concat([Buffer.from("100600 odd\0"), blob]));
  const tree = git(repo, "hash-object", "-t", "tree", "-w", "--literally", file);
  const odd = git(repo, "commit-tree", "-m", "odd", tree);
  await assert.rejects(gitSource({ repo, commit: odd }, t.signal), {
    code: "TREE_REFUSED",
    message: /odd.*its mode is 100600/,
  });
});

test("a commit that names one folder many times is refused before it is listed", async (t) => {
  const { repo } = repository(t);
  const tree = (list: string): string =>
    execFileSync("git", ["-C", repo, "mktree"], { input: list, encoding: "utf8" }).trim();
  let top = git(repo, "rev-parse", "HEAD:app/lib");
  // 2 files, 20 folders in each of 20 folders in each of …: 10 levels are some 20 million million files.
  for (let level = 0; level < 10; level++)
    top = tree(Array.from({ length: 20 }, (_, n) => `040000 tree ${top}\td${n}\n`).join(""));
  const commit = git(repo, "commit-tree", "-m", "bomb", top);
  await assert.rejects(gitSource({ repo, commit }, t.signal), {
    code: "TREE_REFUSED",
    message: /more than 1000000 files and folders/,
  });
});
