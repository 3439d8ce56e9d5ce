/** Repositories on a test hub, and work trees to push from. */
import { execFile } from "node:child_process";
import fs from "node:fs/promises";
import path from "node:path";
import type { TestContext } from "node:test";
import { promisify } from "node:util";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { childProgram } from "../../lib/testing/child.fixture.ts";
import type { LocalSigner } from "../../trust/keys/keys.ts";
import { seal } from "../../trust/document/envelope.ts";
import { silentLog } from "../../lib/process/log.ts";
import { ephemeralIdentity } from "../../trust/connection/tls.ts";
import { GitRepos } from "./git-repos.ts";
import { at, HOUR, startTestHub, tempHome, type TestHub } from "../hub.fixture.ts";

const exec = promisify(execFile);

export interface Work {
  readonly dir: string;
  git(...args: string[]): Promise<string>;
  commit(file: string, content: string | Buffer): Promise<string>;
}

/** A repository, with a `git-remote-skein` on git's PATH that calls this hub as `operator`. */
export async function workTree(
  t: TestContext,
  hub: Pick<TestHub, "cluster" | "address" | "spki">,
  operator: LocalSigner = hub.cluster.operator,
): Promise<Work> {
  const home = await tempHome(t);
  const dir = path.join(home, "work");
  const bin = path.join(home, "bin");
  await fs.mkdir(dir);
  await fs.mkdir(bin);
  const identity = ephemeralIdentity();
  const session = await seal(
    "session.1",
    { cluster: hub.cluster.id, operator: operator.kid, key: identity.spki, issued: at(), expires: at(HOUR) },
    [operator],
  );
  const hubs = [{ spki: hub.spki, address: hub.address }];
  const line = path.join(bin, "line.json");
  await fs.writeFile(line, JSON.stringify({ hubs, identity, session }));
  const program = childProgram(import.meta.dirname, "../../cli/git/git-remote.child.ts");
  const script = `#!/bin/sh\nexec ${process.execPath} ${program} ${line} "$@"\n`;
  await fs.writeFile(path.join(bin, "git-remote-skein"), script, { mode: 0o755 });
  const env = {
    PATH: `${bin}:${process.env["PATH"]}`,
    HOME: home,
    NODE_COMPILE_CACHE: process.env["NODE_COMPILE_CACHE"],
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_AUTHOR_NAME: "a",
    GIT_AUTHOR_EMAIL: "a@b",
    GIT_COMMITTER_NAME: "a",
    GIT_COMMITTER_EMAIL: "a@b",
  };
  const git = async (...args: string[]): Promise<string> => {
    const { stdout, stderr } = await exec("git", args, { cwd: dir, env });
    return (stdout + stderr).trim();
  };
  await git("init", "--quiet", "--initial-branch=main");
  const commit = async (file: string, content: string | Buffer): Promise<string> => {
    await fs.writeFile(path.join(dir, file), content);
    await git("add", file);
    await git("commit", "--quiet", "-m", file);
    return await git("rev-parse", "HEAD");
  };
  return { dir, git, commit };
}

export const reposOf = async (hub: TestHub): Promise<string[]> => {
  const names = await fs.readdir(path.join(hub.home, "lib", "git"));
  return names.filter((name) => name !== ".no-hooks");
};

/** A repository `shop` with a commit. */
export async function shop(t: TestContext): Promise<TestHub> {
  const hub = await startTestHub(t);
  const work = await workTree(t, hub);
  await work.commit("a.txt", "one");
  await work.git("push", `skein://${hub.address}/shop`, "main");
  return hub;
}

/** Repositories by themselves, with those of a hub that has gone. */
export async function reposLeft(t: TestContext, limits = {}): Promise<{ root: string; repos: GitRepos }> {
  const hub = await shop(t);
  await hub.close();
  const root = path.join(hub.home, "lib", "git");
  const repos = await GitRepos.open(root, silentLog, limits);
  atEnd(t, async () => await repos.close());
  return { root, repos };
}

export const PUSH = { repo: "shop", service: "git-receive-pack", protocol: undefined } as const;
