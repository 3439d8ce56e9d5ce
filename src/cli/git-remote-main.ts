/** The program behind `bin/git-remote-skein REMOTE URL`. */
import { execFile } from "node:child_process";
import { HubLine } from "../api/hub-line.ts";
import { systemClock } from "../lib/clock.ts";
import { isSkeinError, messageOf } from "../lib/errors.ts";
import { pathsFrom, type Paths } from "../lib/paths.ts";
import { hubsFor, signerFor } from "../operator/here.ts";
import { readConfig, readCharters } from "../operator/home.ts";
import { openSession } from "../operator/session.ts";
import { openChain } from "../trust/charter.ts";
import { shown } from "./io.ts";
import { PushWatch, type PushedBranch } from "./push-watch.ts";
import { gitRemote, hubsNamed, parseSkeinUrl, type GitService } from "./git-remote.ts";

/** Spelled out: its own module would load the whole language of manifests. */
const MANIFEST = "skein.yaml";

/** @returns the exit status */
export async function gitRemoteMain(args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  try {
    const { hub, repo } = parseSkeinUrl(args[1] ?? args[0] ?? "");
    const paths = pathsFrom(env);
    const config = await readConfig(paths);
    const charter = openChain(await readCharters(paths), config.pin, systemClock.now()).body;
    const signer = await signerFor(paths, config);
    const { identity, session } = await openSession(paths, config.cluster, signer, systemClock);
    const hubs = hubsNamed(hub, hubsFor(config, charter));
    using line = new HubLine({ hubs, identity, session });
    const connect = async (service: GitService) => await line.git(repo, service);
    const wishes = new Wishes();
    const watch = new PushWatch(({ commit }) => wishes.lookEarly(commit));
    await gitRemote({ input: process.stdin, output: process.stdout, connect, watch });
    await afterPush(watch.pushed, wishes, repo, paths, env);
    return 0;
  } catch (err) {
    const code = isSkeinError(err) ? ` [${err.code}]` : "";
    process.stderr.write(`skein: ${shown(messageOf(err))}${code}\n`);
    if (isSkeinError(err)) process.stderr.write(`skein: ${shown(err.hint)}\n`);
    return isSkeinError(err) ? err.exit : 1;
  }
}

/** What a manifest asks for with `stage_on_push`. Most ask for nothing, and their pushes wait for nothing. */
async function afterPush(
  pushed: readonly PushedBranch[],
  wishes: Wishes,
  repo: string,
  paths: Paths,
  env: NodeJS.ProcessEnv,
): Promise<void> {
  const asking: PushedBranch[] = [];
  for (const one of pushed) if (await wishes.asksForMore(one.commit)) asking.push(one);
  if (asking.length === 0) return;
  const { stagePushed } = await import("./stage-pushed.ts");
  const { signal } = new AbortController();
  const options = { paths, repo, env: env["SKEIN_ENV"] ?? "default", cwd: process.cwd() };
  await stagePushed({ ...options, pushed: asking, signal });
}

/** Which commits' manifests ask for more than the push. The first one is looked at while the hub is at work. */
class Wishes {
  #early: { readonly commit: string; readonly asks: Promise<boolean> } | undefined;

  lookEarly(commit: string): void {
    this.#early ??= { commit, asks: asksForMore(commit) };
  }

  async asksForMore(commit: string): Promise<boolean> {
    return await (this.#early?.commit === commit ? this.#early.asks : asksForMore(commit));
  }
}

async function asksForMore(commit: string): Promise<boolean> {
  return await new Promise((resolve) => {
    execFile("git", ["cat-file", "blob", `${commit}:${MANIFEST}`], (err, text) =>
      resolve(err === null && /^\s*["']?stage_on_push\b/m.test(text)),
    );
  });
}

if (import.meta.main) process.exitCode = await gitRemoteMain(process.argv.slice(2), process.env);
