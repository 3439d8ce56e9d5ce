/** Pushes after the first one go by git's own HTTPS, with the same key, pin and session. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs/promises";
import path from "node:path";
import { text } from "node:stream/consumers";
import { test, type TestContext } from "node:test";
import { startCluster, type Cluster } from "./support/cluster.ts";
import { sourceRepo, type SourceRepo } from "./support/repo.ts";

interface Said {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** git called the hub by itself. */
  readonly own: boolean;
}

interface Story extends AsyncDisposable {
  readonly cluster: Cluster;
  readonly repo: SourceRepo;
  /** What git was left after a push through the helper. */
  readonly settings: string;
  /** git's environment from now on. */
  readonly env: NodeJS.ProcessEnv;
  readonly git: (...args: string[]) => Promise<Said>;
  /** Commits and pushes. */
  readonly push: (...args: string[]) => Promise<Said & { readonly commit: string }>;
}

async function story({ signal }: TestContext): Promise<Story> {
  const cluster = await startCluster({ signal });
  const repo = await sourceRepo(path.join(cluster.dir, "source"));
  const settings = path.join(cluster.operatorHome, "etc/operator/git", `web@${cluster.hubAddress}`);
  const env: NodeJS.ProcessEnv = { ...cluster.env(cluster.operatorHome), GIT_TRACE_CURL: "1" };
  const git = async (...args: string[]): Promise<Said> => {
    const child = spawn("git", args, { cwd: repo.dir, env, signal, stdio: ["ignore", "pipe", "pipe"] });
    const [stdout, stderr, [code]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, "close") as Promise<[number | null]>,
    ]);
    return { code, stdout, stderr, own: stderr.includes("=> Send header") };
  };
  let count = 0;
  const push = async (...args: string[]): Promise<Said & { commit: string }> => {
    const commit = await repo.commit({ "a.txt": String(++count) });
    return { ...(await git("push", ...args, cluster.gitUrl("web"), "HEAD:refs/heads/master")), commit };
  };
  return {
    cluster,
    repo,
    settings,
    env,
    git,
    push,
    [Symbol.asyncDispose]: () => cluster[Symbol.asyncDispose](),
  };
}

async function firstPush(made: Story): Promise<void> {
  const { code, own, stderr } = await made.push();
  assert.deepEqual([code, own], [0, false], stderr);
  assert.match(await fs.readFile(made.settings, "utf8"), /^# https:\/\/\S+\/v1\/git\/web \d{10} \//);
}

test("the first push goes through the helper, the next one and a clone by git's own HTTPS", async (t) => {
  await using made = await story(t);
  const { cluster, git, push, repo } = made;
  await firstPush(made);
  const second = await push();
  assert.deepEqual([second.code, second.own], [0, true], second.stderr);
  const copy = path.join(cluster.dir, "copy");
  const cloned = await git("clone", "--quiet", cluster.gitUrl("web"), copy);
  assert.deepEqual([cloned.code, cloned.own], [0, true], cloned.stderr);
  assert.equal(await repo.git("-C", copy, "rev-parse", "HEAD"), second.commit);
});

test("SKEIN_DRY_RUN refuses a push, by git's own HTTPS too, and nothing of it comes to the hub (long)", async (t) => {
  await using made = await story(t);
  const { env, git, push, cluster } = made;
  const url = cluster.gitUrl("web");
  env["SKEIN_DRY_RUN"] = "1";
  const refused = async (): Promise<void> => {
    const { code, stderr } = await push();
    assert.deepEqual([code, /SKEIN_DRY_RUN.*nothing was pushed/.test(stderr)], [128, true], stderr);
  };
  await refused();
  env["SKEIN_DRY_RUN"] = "off";
  await firstPush(made);
  const there = (await git("ls-remote", url)).stdout;
  env["SKEIN_DRY_RUN"] = "yes";
  await refused();
  assert.equal((await git("ls-remote", url)).stdout, there, "reading goes on");
  env["SKEIN_DRY_RUN"] = "";
  const told = await push("--dry-run");
  assert.deepEqual([told.code, (await git("ls-remote", url)).stdout], [0, there], told.stderr);
});

test("a push that the hub refuses is told by git, and leaves nobody waiting (long)", async (t) => {
  await using made = await story(t);
  const { cluster, git, repo } = made;
  await firstPush(made);
  await made.push();
  await repo.git("reset", "-q", "--hard", "HEAD~1");
  const late = await made.push();
  assert.equal(late.code, 1);
  assert.match(late.stderr, /\[rejected\]/);
  const forced = await git(
    "push",
    "--force",
    cluster.gitUrl("web"),
    "HEAD:refs/heads/master",
    "HEAD:refs/heads/more",
  );
  assert.equal(forced.code, 0, forced.stderr);
  const gone = await git("push", cluster.gitUrl("web"), ":refs/heads/more");
  assert.equal(gone.code, 0, gone.stderr);
  const refs = await git("ls-remote", "--heads", cluster.gitUrl("web"));
  assert.equal(refs.stdout, `${late.commit}\trefs/heads/master\n`);
});

test("without the hub a push says so in our words (long)", async (t) => {
  await using made = await story(t);
  await firstPush(made);
  await made.cluster.hub.kill();
  const { code, stderr } = await made.push();
  assert.notEqual(code, 0);
  assert.match(stderr, /HUB_UNREACHABLE/);
  await assert.rejects(fs.access(made.settings), { code: "ENOENT" });
});

test("git holds to the pinned key, and a push that met another is taken by the helper the next time (long)", async (t) => {
  await using made = await story(t);
  await firstPush(made);
  const settings = await fs.readFile(made.settings, "utf8");
  const other = Buffer.alloc(32, 7).toString("base64");
  await fs.writeFile(made.settings, settings.replace(/sha256\/\/\S+/, `sha256//${other}`));
  const refused = await made.push();
  assert.notEqual(refused.code, 0);
  assert.match(refused.stderr, /pinned public key/);
  assert.doesNotMatch(refused.stderr, /Terminated/);
  const again = await made.push();
  assert.equal(again.code, 0, again.stderr);
  assert.equal((await made.push()).own, true);
});

test("settings that are over, or older than what the operator knows of the cluster, are not used (long)", async (t) => {
  await using made = await story(t);
  await firstPush(made);
  const settings = await fs.readFile(made.settings, "utf8");
  await fs.writeFile(made.settings, settings.replace(/ \d{10} /, " 1700000000 "));
  assert.equal((await made.push()).own, false);
  assert.equal((await made.push()).own, true);
  await fs.utimes(
    path.join(path.dirname(made.settings), "../charters"),
    new Date(),
    new Date(Date.now() + 1000),
  );
  assert.equal((await made.push()).own, false);
});

test("a git that cannot call by itself goes on through the helper (long)", async (t) => {
  await using made = await story(t);
  await fs.mkdir(path.dirname(made.settings), { recursive: true });
  await fs.writeFile(made.settings, `# https://${made.cluster.hubAddress}/v1/git/web 0\n`);
  for (const round of [1, 2]) {
    const { code, own, stderr } = await made.push();
    assert.deepEqual([code, own], [0, false], `round ${round}: ${stderr}`);
  }
});

test("what the user set for other servers neither stops a push nor is told the hub (long)", async (t) => {
  await using made = await story(t);
  const { cluster, env, git } = made;
  await firstPush(made);
  const nowhere = "http://127.0.0.1:1";
  const config = [
    ["http.proxy", nowhere],
    [`http.https://${cluster.hubAddress}/v1/git.proxy`, nowhere],
    [`http.https://${cluster.hubAddress}/v1.sslVerify`, "true"],
    ["http.extraHeader", "Authorization: Bearer of-another-server"],
    ["http.sslCertPasswordProtected", "true"],
    ["url.ssh://127.0.0.1:1/.insteadOf", "https://"],
    ["protocol.allow", "never"],
    ["protocol.skein.allow", "always"],
    ["remote.origin.url", cluster.gitUrl("web")],
    ["remote.origin.proxy", nowhere],
  ] as const;
  for (const [key, value] of config) await git("config", key, value);
  Object.assign(env, { https_proxy: nowhere, GIT_SSL_NO_VERIFY: "1", GIT_ALLOW_PROTOCOL: "skein" });
  for (const _ of [1, 2]) {
    await made.repo.commit({ "b.txt": String(Math.random()) });
    const { code, own, stderr } = await git("push", "origin", "HEAD:refs/heads/master");
    assert.deepEqual([code, own], [0, true], stderr);
    assert.doesNotMatch(stderr, /header: (Authorization|CONNECT)/i);
    // What is tried after a push through the helper gets through just the same.
    await fs.rm(made.settings);
    assert.equal((await git("push", "--force", "origin", "HEAD~1:refs/heads/other")).own, false);
  }
});

test("pushes at the same time leave settings that are used (long)", async (t) => {
  await using made = await story(t);
  const { cluster, git, repo } = made;
  await firstPush(made);
  await fs.rm(made.settings);
  await repo.commit({ "b.txt": "b" });
  const pushes = ["a", "b", "c", "d", "e", "f"].map(
    async (branch) => await git("push", cluster.gitUrl("web"), `HEAD:refs/heads/${branch}`),
  );
  for (const { code, stderr } of await Promise.all(pushes)) assert.equal(code, 0, stderr);
  assert.equal((await made.push()).own, true);
  const left = (await fs.readdir(path.dirname(made.settings))).filter((name) => !name.endsWith(".pem"));
  assert.deepEqual(left, [path.basename(made.settings)]);
});

/** git's own programs, but for its HTTPS, which does something first and holds to no pin. */
async function unpinGit(made: Story, first: string): Promise<void> {
  const real = (await made.repo.git("--exec-path")).trim();
  const folder = path.join(made.cluster.dir, "git-core");
  await fs.mkdir(folder);
  for (const name of await fs.readdir(real)) {
    if (name !== "git-remote-https") await fs.symlink(path.join(real, name), path.join(folder, name));
  }
  const lines = [
    "#!/bin/sh",
    first,
    "n=$((GIT_CONFIG_COUNT - 1))",
    'eval "settings=\\$GIT_CONFIG_VALUE_$n"',
    'grep -v pinned "$settings" > "$0.settings"',
    'export "GIT_CONFIG_VALUE_$n=$0.settings"',
    `exec ${real}/git-remote-https "$@"`,
  ];
  await fs.writeFile(path.join(folder, "git-remote-https"), lines.join("\n"), { mode: 0o755 });
  made.env["GIT_EXEC_PATH"] = folder;
}

for (const [what, first] of [
  ["does not look at the hub's key", ""],
  // Somebody in between may let the first call through and cut the second one.
  [
    "fails for another reason than the key",
    '[ ! -e "$0.once" ] || { rm "$0.once"; exit 128; }; touch "$0.once"',
  ],
] as const) {
  test(`git is not let call the hub where it ${what} (long)`, async (t) => {
    await using made = await story(t);
    await unpinGit(made, first);
    for (const _ of [1, 2]) {
      const { code, own, stderr } = await made.push();
      assert.deepEqual([code, own], [0, false], stderr);
    }
    assert.match(await fs.readFile(made.settings, "utf8"), / 0\n$/);
  });
}

test("a commit that is pushed by whatever names it does what its manifest asks for (long)", async (t) => {
  await using made = await story(t);
  const { cluster, git, repo } = made;
  await firstPush(made);
  await repo.commit({ "skein.yaml": "app: web\nkind: files\nstage_on_push: master\n" });
  for (const source of ["HEAD", "@{0}", "HEAD^{/Commit: or  other|.}", ":/."]) {
    await git("push", "--delete", cluster.gitUrl("web"), "refs/heads/master");
    const pushed = await git("push", "--force", cluster.gitUrl("web"), `${source}:refs/heads/master`);
    assert.equal(pushed.own, true);
    assert.match(
      pushed.stderr,
      /staging master \([0-9a-f]{12}\): stage_on_push/,
      `${source}: ${pushed.stderr}`,
    );
  }
});

test("a tag on the hub names its release also where there is no checkout (long)", async (t) => {
  await using made = await story(t);
  const { cluster, git, repo } = made;
  await cluster.addNode("web1");
  const commit = await repo.commit({ "skein.yaml": "app: web\nkind: files\n", "a.txt": "1" });
  await repo.git("tag", "-a", "-m", "the first", "v1");
  await repo.commit({ "a.txt": "2" });
  const pushed = await git("push", cluster.gitUrl("web"), "HEAD:refs/heads/master", "v1");
  assert.equal(pushed.code, 0, pushed.stderr);
  await cluster.ok("deploy", "web", commit);
  assert.equal((await cluster.ok("check", "web", "v1")).stdout, "OK\n");
  const other = await cluster.skein(["check", "web", "v2"]);
  assert.match(other.stderr, /RELEASE_NOT_FOUND/);
});
