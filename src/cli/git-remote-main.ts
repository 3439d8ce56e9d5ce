/** The program behind `bin/git-remote-skein REMOTE URL`. */
import { spawnSync } from "node:child_process";
import { HubClient } from "../api/hub-client.ts";
import { systemClock } from "../lib/clock.ts";
import { isSkeinError, messageOf } from "../lib/errors.ts";
import { pathsFrom, type Paths } from "../lib/paths.ts";
import { readConfig, readCharters } from "../operator/home.ts";
import { hubsFor, signerFor } from "../operator/operator.ts";
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
    using client = new HubClient({ hubs, identity, session });
    const connect = async (service: GitService) => await client.git(repo, service);
    const watch = new PushWatch();
    await gitRemote({ input: process.stdin, output: process.stdout, connect, watch });
    await afterPush(watch.pushed, repo, paths, env);
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
  repo: string,
  paths: Paths,
  env: NodeJS.ProcessEnv,
): Promise<void> {
  const asking = pushed.filter(({ commit }) => asksForMore(commit));
  if (asking.length === 0) return;
  const { stagePushed } = await import("./stage-pushed.ts");
  const { signal } = new AbortController();
  const options = { paths, repo, env: env["SKEIN_ENV"] ?? "default", cwd: process.cwd() };
  await stagePushed({ ...options, pushed: asking, signal });
}

function asksForMore(commit: string): boolean {
  const { status, stdout } = spawnSync("git", ["cat-file", "blob", `${commit}:${MANIFEST}`], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  return status === 0 && /^\s*["']?stage_on_push\b/m.test(stdout);
}

if (import.meta.main) process.exitCode = await gitRemoteMain(process.argv.slice(2), process.env);
