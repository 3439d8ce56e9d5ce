import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs/promises";
import { Socket } from "node:net";
import path from "node:path";
import { PassThrough, Readable } from "node:stream";
import { text } from "node:stream/consumers";
import test from "node:test";
import { promisify } from "node:util";
import { deflateSync } from "node:zlib";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { silentLog, type LogFields } from "../../lib/process/log.ts";
import { generateSigner } from "../../trust/keys/keys.ts";
import { PUSH, reposLeft, reposOf, shop, workTree } from "./git.fixture.ts";
import { HOUR, makeCluster, operatorClient, operatorLine, startTestHub, tempHome } from "../hub.fixture.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";
import { GitRepos } from "./git-repos.ts";

test("a first push creates the repository, and when it returned everybody finds it (long)", async (t) => {
  const hub = await startTestHub(t);
  const work = await workTree(t, hub);
  const first = await work.commit("a.txt", "one");
  await work.git("push", `skein://${hub.address}/shop`, "main");
  assert.deepEqual(await reposOf(hub), ["shop.git"]);
  assert.deepEqual(await hub.client.repos(), [{ name: "shop", head: "main" }]);

  const second = await work.commit("b.txt", "two");
  await work.git("push", `skein://${hub.address}/shop`, "main");
  const other = await workTree(t, hub);
  await other.git("clone", "--quiet", `skein://${hub.address}/shop`, "copy");
  assert.equal(await other.git("-C", "copy", "rev-parse", "HEAD"), second);
  assert.equal(await other.git("-C", "copy", "rev-parse", "HEAD~1"), first);
});

test("a commit of any branch is fetched by its hash", async (t) => {
  const hub = await startTestHub(t);
  const work = await workTree(t, hub);
  await work.commit("a.txt", "one");
  await work.git("checkout", "--quiet", "-b", "feature");
  const old = await work.commit("b.txt", "two");
  await work.commit("c.txt", "three");
  await work.git("push", `skein://${hub.address}/shop`, "feature");
  assert.deepEqual(await hub.client.repos(), [{ name: "shop", head: "feature" }], "the only branch there is");
  const other = await workTree(t, hub);
  await other.git("fetch", "--quiet", "--depth=1", `skein://${hub.address}/shop`, old);
  assert.equal(await other.git("rev-parse", "FETCH_HEAD"), old);
});

test("a push that breaks off is never seen, and the next one goes through", async (t) => {
  const hub = await startTestHub(t);
  using line = await operatorLine(hub);
  const socket = await line.git("shop", "git-receive-pack");
  await once(socket, "readable");
  assert.match((await reposOf(hub)).join(), /^\.unborn-/);
  assert.deepEqual(await hub.client.repos(), []);
  await assert.rejects(line.git("shop", "git-upload-pack"), {
    code: "NOT_FOUND",
    hint: "The first push makes it: git push skein://HUB/shop main",
  });
  const breakOff = (push: typeof socket, ref: string): void => {
    // The command for a ref, then half of a pack.
    const command = `${"0".repeat(40)} ${"1".repeat(40)} ${ref}\0report-status`;
    push.write(`${(command.length + 4).toString(16).padStart(4, "0")}${command}0000PACK`);
    push.destroy();
  };
  breakOff(socket, "refs/heads/main");
  await eventually("nothing is left of it", async () => (await reposOf(hub)).length === 0);
  assert.deepEqual(await hub.client.repos(), []);
  const work = await workTree(t, hub);
  const url = `skein://${hub.address}/shop`;
  await work.commit("a.txt", "one");
  await work.git("push", url, "main");
  assert.deepEqual(await reposOf(hub), ["shop.git"]);

  const later = await line.git("shop", "git-receive-pack");
  await once(later, "readable");
  breakOff(later, "refs/heads/side");
  const second = await work.commit("b.txt", "two");
  await work.git("push", url, "main");
  assert.equal(await work.git("ls-remote", "--heads", url), `${second}\trefs/heads/main`);
});

test("what a killed hub left of a first push is removed at the next start", async (t) => {
  const home = await tempHome(t);
  const left = path.join(home, "lib", "git", ".unborn-0123", "refs");
  await fs.mkdir(left, { recursive: true });
  const hub = await startTestHub(t, { home });
  assert.deepEqual(await reposOf(hub), []);
});

test("hooks that stand in a repository never run", async (t) => {
  const hub = await startTestHub(t);
  const work = await workTree(t, hub);
  await work.commit("a.txt", "one");
  await work.git("push", `skein://${hub.address}/shop`, "main");
  const mark = path.join(hub.home, "ran");
  const hooks = path.join(hub.home, "lib", "git", "shop.git", "hooks");
  await fs.mkdir(hooks, { recursive: true });
  for (const name of ["pre-receive", "update", "post-receive", "post-update", "reference-transaction"]) {
    await fs.writeFile(path.join(hooks, name), `#!/bin/sh\ntouch ${mark}\n`, { mode: 0o755 });
  }
  await work.commit("b.txt", "two");
  await work.git("push", `skein://${hub.address}/shop`, "main");
  await assert.rejects(fs.access(mark));
});

test("objects that git finds unsound are refused", async (t) => {
  const hub = await startTestHub(t);
  const work = await workTree(t, hub);
  await work.commit("a.txt", "one");
  const blob = await work.git("hash-object", "-w", "a.txt");
  const child = spawn("git", ["mktree", "--missing"], { cwd: work.dir, stdio: ["pipe", "pipe", "ignore"] });
  child.stdin.end(`100644 blob ${blob}\t.git\n`);
  const [tree] = (await once(child.stdout, "data")) as [Buffer];
  const commit = await work.git("commit-tree", tree.toString().trim(), "-m", "bad");
  await assert.rejects(
    work.git("push", `skein://${hub.address}/shop`, `${commit}:refs/heads/main`),
    /hasDotgit|fsck/,
  );
  assert.deepEqual(await reposOf(hub), []);
});

test("a small push that is said to hold a huge object takes no such memory", async (t) => {
  const said: unknown[] = [];
  const log = { ...silentLog, info: (_msg: string, fields?: LogFields) => void said.push(fields?.["said"]) };
  const root = path.join(await tempHome(t), "git");
  const repos = await GitRepos.open(root, log);
  atEnd(t, async () => await repos.close());
  await promisify(execFile)("git", ["init", "--bare", "--quiet", path.join(root, "shop.git")]);
  const command = `${"0".repeat(40)} ${"1".repeat(40)} refs/heads/main\0 report-status\n`;
  // One tree of 2 GiB: its length is 0x80000000, four bits of it in the first byte, seven in each further one.
  const head = Buffer.from([0x50, 0x41, 0x43, 0x4b, 0, 0, 0, 2, 0, 0, 0, 1, 0xa0, 0x80, 0x80, 0x80, 0x40]);
  const pack = Buffer.concat([head, deflateSync(Buffer.alloc(1000))]);
  const length = (command.length + 4).toString(16).padStart(4, "0");
  const pushed = Readable.from([Buffer.from(`${length}${command}0000`), pack]);
  const output = new PassThrough();
  const answer = text(output);
  const request = { repo: "shop", service: "git-receive-pack", protocol: undefined } as const;
  await repos.exchange(request, pushed, output, t.signal);
  output.end();
  assert.match(await answer, /unpack .*abnormal exit/);
  assert.match(said.join(), /attempting to allocate 2147483649 over limit/);
});

test("a push needs a right to deploy that app; a path is no name (long)", async (t) => {
  const cluster = await makeCluster(["deploy:shop/staging"]);
  const hub = await startTestHub(t, { cluster });
  const work = await workTree(t, hub);
  await work.commit("a.txt", "one");
  await work.git("push", `skein://${hub.address}/shop`, "main");
  await assert.rejects(work.git("push", `skein://${hub.address}/bank`, "main"), /NOT_AUTHORISED/);
  for (const name of ["..%2fshop", "a%2fb", "Shop", ".hidden"]) {
    await assert.rejects(work.git("push", `skein://${hub.address}/${name}`, "main"), /no repository's name/);
    const path = `/v1/git/${name}/info/refs?service=git-receive-pack`;
    await assert.rejects(hub.client.raw({ method: "GET", path }), { code: "BAD_REQUEST" });
  }
  const stranger = await workTree(t, hub, generateSigner());
  await stranger.commit("a.txt", "one");
  await assert.rejects(stranger.git("push", `skein://${hub.address}/shop`, "main"), /UNKNOWN_CLIENT/);
  assert.deepEqual(await reposOf(hub), ["shop.git"]);
});

test("git's own HTTP is for the same operators, and finds only repositories that are there", async (t) => {
  const cluster = await makeCluster(["deploy:shop/staging"]);
  const hub = await startTestHub(t, { cluster });
  const ask = async (repo: string): Promise<string> => {
    const path = `/v1/git/${repo}/info/refs?service=git-receive-pack`;
    return await text(await hub.client.raw({ method: "GET", path }));
  };
  await assert.rejects(ask("shop"), { code: "NOT_FOUND" });
  await assert.rejects(ask("bank"), { code: "NOT_AUTHORISED" });
  const body = { method: "POST", path: "/v1/git/bank/git-receive-pack", body: "0000" } as const;
  await assert.rejects(hub.client.raw(body), { code: "NOT_AUTHORISED" });
  const work = await workTree(t, hub);
  const commit = await work.commit("a.txt", "one");
  await work.git("push", `skein://${hub.address}/shop`, "main");
  const refs = await ask("shop");
  assert.ok(refs.startsWith("001f# service=git-receive-pack\n0000"), refs);
  assert.ok(refs.includes(`${commit} refs/heads/main`), refs);
});

test("a fetch whose request cannot be unpacked ends at once", async (t) => {
  const hub = await shop(t);
  const headers = { "content-encoding": "gzip" };
  const path = "/v1/git/shop/git-upload-pack";
  // What waits until then is ended with the test.
  const asking = hub.client.raw({ method: "POST", path, headers, body: "0000", timeoutMs: HOUR });
  await assert.rejects(asking, { code: "HUB_UNREACHABLE" });
});

test("of many who come at once, some have a git and others wait for it", async (t) => {
  const { repos } = await reposLeft(t, { most: 3, mostOfOne: 2 });
  let [running, most, done] = [0, 0, 0];
  const asking = Array.from({ length: 12 }, async () => {
    using _ = await repos.place("somebody", new Socket(), t.signal);
    most = Math.max(most, (running += 1));
    await repos.exchange(PUSH, Readable.from("0000"), new PassThrough().resume(), t.signal);
    running -= 1;
    done += 1;
  });
  await Promise.all(asking);
  assert.deepEqual([most, done], [2, 12]);
});

test("a push that nobody goes on with gives way to who waits", async (t) => {
  const hub = await startTestHub(t, { gits: { most: 1, stillMs: 0, waitMs: HOUR } });
  const work = await workTree(t, hub);
  await work.commit("a.txt", "one");
  using line = await operatorLine(hub);
  const silent = await line.git("shop", "git-receive-pack");
  const cut = once(silent.resume(), "close");
  await work.git("push", `skein://${hub.address}/shop`, "main");
  await cut;
});

test("whoever went away while others were served leaves no git that waits for them", async (t) => {
  const { repos } = await reposLeft(t);
  const gone = new PassThrough();
  gone.destroy();
  await repos.exchange(PUSH, gone, gone, t.signal);
  await repos.serve("shop", "git-receive-pack", gone, t.signal);
  await repos.serve("another", "git-receive-pack", gone, t.signal);
  await repos.exchange(PUSH, new PassThrough(), new PassThrough(), AbortSignal.abort());
});

test("what many pushes left behind is packed after them (long)", async (t) => {
  const hub = await startTestHub(t);
  const work = await workTree(t, hub);
  const dir = path.join(hub.home, "lib", "git", "shop.git");
  const packs = async (): Promise<number> => {
    const files = await fs.readdir(path.join(dir, "objects", "pack"));
    return files.filter((file) => file.endsWith(".pack")).length;
  };
  await work.commit("a.txt", "one");
  await work.git("push", `skein://${hub.address}/shop`, "main");
  await fs.appendFile(path.join(dir, "config"), "[receive]\n\tunpackLimit = 1\n[gc]\n\tautoPackLimit = 1\n");
  await work.commit("b.txt", "two");
  await work.git("push", `skein://${hub.address}/shop`, "main");
  assert.equal(await packs(), 1);
  await work.commit("c.txt", "three");
  await work.git("push", `skein://${hub.address}/shop`, "main");
  await eventually("one pack", async () => (await packs()) === 1);
});

test("what branches left behind is packed, can be had for 90 days, and goes then (long)", async (t) => {
  const hub = await startTestHub(t);
  const work = await workTree(t, hub);
  const dir = path.join(hub.home, "lib", "git", "shop.git");
  const objects = path.join(dir, "objects");
  const push = async (text: string): Promise<string> => {
    await work.commit("a.txt", text);
    await work.git("push", "--force", `skein://${hub.address}/shop`, "main");
    return (await work.git("rev-parse", "HEAD")).trim();
  };
  const isThere = async (commit: string): Promise<boolean> =>
    await work.git("--git-dir", dir, "cat-file", "-e", commit).then(
      () => true,
      () => false,
    );
  const packs = async (): Promise<string[]> => {
    const files = await fs.readdir(path.join(objects, "pack"));
    return files.filter((file) => file.endsWith(".pack"));
  };
  await push("one");
  await fs.appendFile(path.join(dir, "config"), "[receive]\n\tunpackLimit = 1\n[gc]\n\tautoPackLimit = 2\n");
  const left: string[] = [];
  for (const text of ["two", "three", "four"]) {
    left.push(await push(text));
    await work.git("reset", "--quiet", "--hard", "HEAD~1");
  }
  await eventually("two packs", async () => (await packs()).length === 2);
  const loose = (await fs.readdir(objects)).filter((name) => name.length === 2);
  assert.deepEqual(loose, []);
  assert.ok(await isThere(left[0]!));
  // So long ago.
  const old = new Date(Date.now() - 100 * 24 * HOUR);
  const cruft = (await fs.readdir(path.join(objects, "pack"))).find((name) => name.endsWith(".mtimes"));
  assert.ok(cruft !== undefined);
  await fs.rm(path.join(objects, "pack", cruft));
  for (const name of await packs()) await fs.utimes(path.join(objects, "pack", name), old, old);
  await push("five");
  await eventually("their end", async () => !(await isThere(left[0]!)));
});

test("what packs a repository ends with the hub, and so does all that it started", async (t) => {
  const hub = await startTestHub(t);
  const work = await workTree(t, hub);
  await work.commit("a.txt", "one");
  await work.git("push", `skein://${hub.address}/shop`, "main");
  const folder = path.join(hub.home, "bin");
  const file = path.join(folder, "started");
  const { PATH } = process.env;
  await fs.mkdir(folder);
  const lines = [
    `#!/bin/sh`,
    `case " $* " in *" gc "*) sleep 300 & echo $! > "${file}.new"; mv "${file}.new" "${file}"; wait;; esac`,
    `PATH="${PATH}" exec git "$@"`,
  ];
  await fs.writeFile(path.join(folder, "git"), lines.join("\n"), { mode: 0o755 });
  atEnd(t, () => (process.env["PATH"] = PATH));
  process.env["PATH"] = `${folder}:${PATH}`;
  await work.commit("b.txt", "two");
  await work.git("push", `skein://${hub.address}/shop`, "main");
  const started = await eventually("what it starts", async () => await fs.readFile(file, "utf8"));
  const stat = `/proc/${started.trim()}/stat`;
  await hub.closeHubOnly();
  // Whoever takes over what has lost its parent may be late to look at its end.
  const isGone = async (): Promise<boolean> =>
    /^$|\) Z /.test(await fs.readFile(stat, "utf8").catch(() => ""));
  await eventually("its end", isGone);
});

test("first pushes at the same time make one repository with both branches", async (t) => {
  const hub = await startTestHub(t);
  const pushes = ["main", "other"].map(async (branch) => {
    const work = await workTree(t, hub);
    await work.commit(`${branch}.txt`, branch);
    await work.git("push", `skein://${hub.address}/shop`, `HEAD:refs/heads/${branch}`);
  });
  await Promise.all(pushes);
  const work = await workTree(t, hub);
  const refs = await work.git("ls-remote", "--heads", `skein://${hub.address}/shop`);
  assert.deepEqual(
    refs.split("\n").map((line) => line.split("\t")[1]),
    ["refs/heads/main", "refs/heads/other"],
  );
});

test("only git connections are upgraded", async (t) => {
  const hub = await startTestHub(t);
  const client = await operatorClient(hub.cluster, hub.address);
  atEnd(t, () => client.close());
  await assert.rejects(client.call("git", { params: { repo: "shop", service: "git-upload-pack" } }), {
    code: "BAD_REQUEST",
  });
});
