import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs/promises";
import path from "node:path";
import { PassThrough } from "node:stream";
import test from "node:test";
import { findByEnvironment } from "../../keeper/proc.ts";
import { silentLog } from "../../lib/process/log.ts";
import { startTestHub } from "../hub.fixture.ts";
import { PUSH, reposLeft, workTree } from "./git.fixture.ts";
import { GitRepos } from "./git-repos.ts";

test("what gits left that were killed is gone at the next start, and so are those that live on (long)", async (t) => {
  const hub = await startTestHub(t);
  const work = await workTree(t, hub);
  await work.commit("a.txt", "one");
  await work.git("push", `skein://${hub.address}/shop`, "main");
  const root = path.join(hub.home, "lib", "git");
  const dir = path.join(root, "shop.git");
  const left = [
    "refs/heads/main.lock",
    "packed-refs.lock",
    "HEAD.lock",
    "config.lock",
    "gc.pid",
    "HEAD.0123456789ab.new",
    "objects/pack/tmp_pack_1",
    "objects/pack/.tmp-1-pack-1.idx",
    "objects/tmp_objdir-incoming-1/a",
  ];
  for (const name of left) {
    await fs.mkdir(path.dirname(path.join(dir, name)), { recursive: true });
    await fs.writeFile(path.join(dir, name), "");
  }
  const outlived = spawn("sleep", ["1000"], { env: { ...process.env, HOME: root } });
  await work.commit("b.txt", "two");
  await assert.rejects(work.git("push", `skein://${hub.address}/shop`, "main"), /main\.lock/);
  await GitRepos.open(root, silentLog);
  assert.equal(outlived.signalCode ?? (await once(outlived, "exit"))[1], "SIGKILL");
  for (const name of left) await assert.rejects(fs.lstat(path.join(dir, name)), { code: "ENOENT" }, name);
  await work.git("push", `skein://${hub.address}/shop`, "main");
});

test("branches and tags that are called as git's leftovers are kept at the next start (long)", async (t) => {
  const hub = await startTestHub(t);
  const work = await workTree(t, hub);
  await work.commit("a.txt", "one");
  const names = ["heads/tmp-fix", "heads/tmp_dir/x", "heads/gc.pid", "heads/HEAD.abc.new", "tags/tmp-1"];
  await work.git("push", `skein://${hub.address}/shop`, ...names.map((name) => `HEAD:refs/${name}`));
  await GitRepos.open(path.join(hub.home, "lib", "git"), silentLog);
  const refs = await work.git("ls-remote", "--refs", `skein://${hub.address}/shop`);
  assert.deepEqual(
    refs.split("\n").map((line) => line.split("\trefs/")[1]),
    names.toSorted(),
  );
});

test("a git that was killed leaves no lock (long)", async (t) => {
  const { root, repos } = await reposLeft(t);
  const lock = path.join(root, "shop.git", "refs", "heads", "main.lock");
  await fs.writeFile(lock, "");
  const pushing = repos.exchange(PUSH, new PassThrough(), new PassThrough(), t.signal);
  let pid: number | undefined;
  while (pid === undefined) {
    pid = findByEnvironment(`HOME=${root}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
  process.kill(pid, "SIGKILL");
  await pushing;
  await assert.rejects(fs.lstat(lock), { code: "ENOENT" });
});
