/**
 * The program behind `bin/git-remote-skein REMOTE URL`. Where git's own HTTPS was used instead: `--why REMOTE URL` says
 * what a hub has against a push, `--pushed REMOTE URL SOURCE:REF...` does what pushed manifests ask for.
 */
import { execFile } from "node:child_process";
import type { Duplex } from "node:stream";
import type { HubAddress } from "../api/hub-address.ts";
import { HubLine } from "../api/hub-line.ts";
import { systemClock } from "../lib/time/clock.ts";
import { isSkeinError, messageOf, SkeinError } from "../lib/errors/errors.ts";
import { pathsFrom, type Paths } from "../lib/disk/paths.ts";
import { hubsFor, patienceWith, signerFor } from "../operator/identity/signer-and-hubs.ts";
import { readConfig, readCharters } from "../operator/identity/home.ts";
import { openSession, type Session } from "../operator/identity/session.ts";
import { openChain } from "../trust/charter/charter.ts";
import { saysNo } from "./command/says-no.ts";
import { shown } from "./terminal/io.ts";
import { PushWatch, type PushedBranch } from "./git/push-watch.ts";
import { gitRemote, hubsNamed, parseSkeinUrl, type GitService } from "./git/git-remote.ts";

/** Spelled out: its own module would load the whole language of manifests. */
const MANIFEST = "skein.yaml";

/** @returns the exit status */
export async function main(args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  try {
    const [mode, ...rest] = args;
    if (mode === "--why") await sayWhy(rest, env);
    else if (mode === "--pushed") await afterOwnPush(rest, env);
    else await speakGit(args, env);
    return 0;
  } catch (err) {
    const code = isSkeinError(err) ? ` [${err.code}]` : "";
    process.stderr.write(`skein: ${shown(messageOf(err))}${code}\n`);
    if (isSkeinError(err)) process.stderr.write(`skein: ${shown(err.hint)}\n`);
    return isSkeinError(err) ? err.exit : 1;
  }
}

async function speakGit(args: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  const opened = await open(args, env);
  using line = opened.line;
  const connect = async (service: GitService): Promise<Duplex> => {
    if (service === "git-receive-pack") refuseDryRun(env);
    return await line.git(opened.repo, service);
  };
  const wishes = new Wishes();
  const watch = new PushWatch(({ commit }) => wishes.lookEarly(commit));
  await gitRemote({ input: process.stdin, output: process.stdout, connect, watch });
  if (watch.pushed.length === 0) return;
  await afterPush(watch.pushed, wishes, opened, env);
  const [hub] = opened.hubs;
  // git does not try a second one.
  const isOnly = opened.hubs.every(({ address, spki }) => address === hub?.address && spki === hub.spki);
  if (hub === undefined || !isOnly) return;
  const { letGitCall } = await import("./git/git-https.ts");
  // The push stands, and the next one goes this way again.
  await letGitCall({ ...opened, hub, now: systemClock.now() }).catch(() => undefined);
}

/** What git is to do, it alone knows: whether it was told to push nothing is not told to a helper. */
function refuseDryRun({ SKEIN_DRY_RUN = "" }: NodeJS.ProcessEnv): void {
  if (saysNo(SKEIN_DRY_RUN)) return;
  throw new SkeinError(
    "USAGE",
    "SKEIN_DRY_RUN is set, and git push knows nothing of it: nothing was pushed",
    {
      hint: "Unset it, and say git push --dry-run for a push that only tells.",
    },
  );
}

interface Opened {
  readonly paths: Paths;
  readonly named: string;
  readonly repo: string;
  readonly hubs: readonly HubAddress[];
  readonly session: Session;
  readonly line: HubLine;
}

async function open(args: readonly string[], env: NodeJS.ProcessEnv): Promise<Opened> {
  const { hub: named, repo } = parseSkeinUrl(args[1] ?? args[0] ?? "");
  const paths = pathsFrom(env);
  const config = await readConfig(paths);
  const charter = openChain(await readCharters(paths), config.pin, systemClock.now()).body;
  const signer = await signerFor(paths, config);
  const session = await openSession(paths, config.cluster, signer, systemClock);
  const hubs = hubsNamed(named, hubsFor(config, charter));
  const patience = await patienceWith(paths, systemClock, (text) =>
    process.stderr.write(`skein: ${shown(text)}\n`),
  );
  return {
    paths,
    named,
    repo,
    hubs,
    session,
    line: new HubLine({ hubs, identity: session.identity, session: session.document, ...patience }),
  };
}

async function sayWhy(args: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  const { line, repo } = await open(args, env);
  using _ = line;
  (await line.git(repo, "git-receive-pack")).destroy();
}

/** Only what the hub has now was taken. */
async function afterOwnPush(
  [remote = "", url = remote, ...pairs]: string[],
  env: NodeJS.ProcessEnv,
): Promise<void> {
  const pushed: PushedBranch[] = [];
  for (const pair of pairs) {
    const [, source = "", ref = ""] = /^(.*):([^:]*)$/s.exec(pair) ?? [];
    if (!ref.startsWith("refs/heads/")) continue;
    const commit = (await git("rev-parse", "--verify", source)).trim();
    const there = await git("ls-remote", url, ref);
    if (there.startsWith(commit)) pushed.push({ branch: ref.slice("refs/heads/".length), commit });
  }
  await afterPush(pushed, new Wishes(), { repo: parseSkeinUrl(url).repo, paths: pathsFrom(env) }, env);
}

async function git(...args: string[]): Promise<string> {
  return await new Promise((resolve, reject) => {
    execFile("git", args, (err, text) => (err === null ? resolve(text) : reject(err)));
  });
}

/** What a manifest asks for with `stage_on_push`. Most ask for nothing, and their pushes wait for nothing. */
async function afterPush(
  pushed: readonly PushedBranch[],
  wishes: Wishes,
  { repo, paths }: Pick<Opened, "repo" | "paths">,
  env: NodeJS.ProcessEnv,
): Promise<void> {
  const asking: PushedBranch[] = [];
  for (const one of pushed) if (await wishes.asksForMore(one.commit)) asking.push(one);
  if (asking.length === 0) return;
  const { stagePushed } = await import("./git/stage-pushed.ts");
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
  const manifest = await git("cat-file", "blob", `${commit}:${MANIFEST}`).catch(() => "");
  return /^\s*["']?stage_on_push\b/m.test(manifest);
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2), process.env);
