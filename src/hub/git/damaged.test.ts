/** Repositories that are damaged on the hub's disk, and pushes that come to nothing there. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import fs from "node:fs/promises";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { promisify } from "node:util";
import { silentLog } from "../../lib/process/log.ts";
import { startTestHub } from "../hub.fixture.ts";
import { reposOf, workTree, type Work } from "./git.fixture.ts";
import { GitRepos } from "./git-repos.ts";

interface Shop {
  readonly work: Work;
  /** The repositories' folder, and that of `shop`. */
  readonly root: string;
  readonly dir: string;
  /** Its only commit. */
  readonly commit: string;
  readonly push: (repo: string, ...refs: string[]) => Promise<string>;
}

async function shop(t: TestContext): Promise<Shop> {
  const hub = await startTestHub(t);
  const work = await workTree(t, hub);
  const commit = await work.commit("a.txt", "one");
  const push = async (repo: string, ...refs: string[]): Promise<string> =>
    await work.git("push", `skein://${hub.address}/${repo}`, ...refs);
  await push("shop", "main");
  const root = path.join(hub.home, "lib", "git");
  return { work, root, dir: path.join(root, "shop.git"), commit, push };
}

const objectOf = (id: string): string => path.join("objects", id.slice(0, 2), id.slice(2));

/** Each with what of it fails: a push or a fetch that cannot do without what is damaged. */
const DAMAGES: Readonly<
  Record<string, { readonly by: ("push" | "fetch")[]; readonly damage: (made: Shop) => Promise<void> }>
> = {
  "a commit that is missing": {
    by: ["push", "fetch"],
    damage: async ({ dir, commit }) => await fs.rm(path.join(dir, objectOf(commit))),
  },
  "a commit that is empty": {
    by: ["push", "fetch"],
    damage: async ({ dir, commit }) => {
      await fs.chmod(path.join(dir, objectOf(commit)), 0o600);
      await fs.truncate(path.join(dir, objectOf(commit)));
    },
  },
  "a file's content that is missing": {
    by: ["fetch"],
    damage: async ({ dir, work }) =>
      await fs.rm(path.join(dir, objectOf(await work.git("rev-parse", "HEAD~1:a.txt")))),
  },
  "a branch that is empty": {
    by: ["push", "fetch"],
    damage: async ({ dir }) => await fs.truncate(path.join(dir, "refs/heads/main")),
  },
  "a folder of objects that is gone": {
    by: ["push", "fetch"],
    damage: async ({ dir }) => await fs.rm(path.join(dir, "objects"), { recursive: true }),
  },
  "a HEAD that is gone": {
    by: ["fetch"],
    damage: async ({ dir }) => await fs.rm(path.join(dir, "HEAD")),
  },
  "a list of refs that cannot be read": {
    by: ["push", "fetch"],
    damage: async ({ dir }) => await fs.writeFile(path.join(dir, "packed-refs"), "no ref"),
  },
  "a file in its place": {
    by: ["push", "fetch"],
    damage: async ({ dir }) => {
      await fs.rm(dir, { recursive: true });
      await fs.writeFile(dir, "");
    },
  },
};

for (const [what, { by, damage }] of Object.entries(DAMAGES)) {
  test(`${what}: who meets it is told what is damaged and what to do; other repositories go on (long)`, async (t) => {
    const made = await shop(t);
    const { work, dir, push, root } = made;
    await work.commit("b.txt", "two");
    await damage(made);
    const url = (await push("other", "main")).match(/skein:\S+(?=\/other)/)?.[0] ?? "";
    const told = (err: Error): boolean =>
      /REPO_DAMAGED the hub's repository shop is damaged: it is no folder/.test(err.message) ||
      (err.message.includes("[REPO_DAMAGED]") && err.message.includes(`move ${dir} away`));
    if (by.includes("push")) await assert.rejects(push("shop", "main"), told);
    if (by.includes("fetch")) await assert.rejects(work.git("clone", `${url}/shop`, "copy"), told);
    await work.git("clone", "--quiet", `${url}/other`, "other");
    // The next start of the hub has to do with it, too.
    const repos = await GitRepos.open(root, silentLog);
    await repos.close();
    await fs.rename(dir, path.join(root, "away"));
    await push("shop", "main");
    await work.git("clone", "--quiet", `${url}/shop`, "again");
  });
}

test(
  "a repository that the hub's user may not write is told as such (long)",
  { skip: process.getuid?.() === 0 ? false : "needs root for a mount of its own" },
  async (t) => {
    const { dir } = await shop(t);
    const program = `
      import { findDamage } from ${JSON.stringify(new URL("./repo-files.ts", import.meta.url).href)};
      const { signal } = new AbortController();
      const found = await findDamage(process.argv[1], { words: [], env: process.env }, signal);
      console.log(found.message, found.hint);`;
    const sealed = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"';
    const node = [process.execPath, "--input-type=module", "--eval", program, dir];
    const args = ["-m", "sh", "-c", sealed, "sh", path.join(dir, "objects"), ...node];
    const { stdout } = await promisify(execFile)("unshare", args);
    assert.match(stdout, /is damaged: EROFS at \S+shop.git\/objects On .* read and write \S+shop.git /);
  },
);

test("a push that is refused for what it brings does not blame the repository (long)", async (t) => {
  const { work, push } = await shop(t);
  const tree = await work.git("rev-parse", "HEAD^{tree}");
  await fs.writeFile(path.join(work.dir, "bad"), `tree ${tree}\nauthor a\ncommitter b\n\nbad\n`);
  const bad = await work.git("hash-object", "-t", "commit", "-w", "--literally", "bad");
  await assert.rejects(push("shop", `${bad}:refs/heads/bad`), (err: Error) => {
    assert.match(err.message, /fsck error/);
    return !err.message.includes("REPO_DAMAGED");
  });
});

test("a first push of a tag alone is kept (long)", async (t) => {
  const hub = await startTestHub(t);
  const work = await workTree(t, hub);
  const commit = await work.commit("a.txt", "one");
  await work.git("push", `skein://${hub.address}/shop`, "HEAD:refs/tags/v1");
  assert.deepEqual(await reposOf(hub), ["shop.git"]);
  assert.equal(await work.git("ls-remote", `skein://${hub.address}/shop`), `${commit}\trefs/tags/v1`);
  await work.git("push", `skein://${hub.address}/shop`, "main");
  assert.deepEqual(await hub.client.repos(), [{ name: "shop", head: "main" }]);
});

/** Between git's asking what a repository has and its push another first push goes through. */
async function overtaken(t: TestContext) {
  const hub = await startTestHub(t);
  const url = `skein://${hub.address}/shop`;
  const [first, late] = [await workTree(t, hub), await workTree(t, hub)];
  const commits = [await first.commit("a.txt", "one"), await late.commit("b.txt", "two")];
  const hooks = path.join(late.dir, ".git", "hooks");
  await fs.mkdir(hooks, { recursive: true });
  const push = `#!/bin/sh\nunset GIT_DIR\ngit -C ${first.dir} push ${url} main\n`;
  await fs.writeFile(path.join(hooks, "pre-push"), push, { mode: 0o755 });
  return { hub, url, first, late, commits };
}

test("a first push waits for no other one, and comes to what that brought (long)", async (t) => {
  const { hub, url, late, commits } = await overtaken(t);
  await late.git("push", url, "HEAD:refs/heads/other");
  const refs = await late.git("ls-remote", "--heads", url);
  assert.equal(refs, `${commits[0]}\trefs/heads/main\n${commits[1]}\trefs/heads/other`);
  assert.deepEqual(await reposOf(hub), ["shop.git"]);
});

test("a first push that is lost to another one of the same branch is told so (long)", async (t) => {
  const { url, late, commits } = await overtaken(t);
  await assert.rejects(late.git("push", url, "main"), /GIT_FAILED[^]*push again/);
  assert.equal(await late.git("ls-remote", "--heads", url), `${commits[0]}\trefs/heads/main`);
});
