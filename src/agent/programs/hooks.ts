import fs from "node:fs/promises";
import path from "node:path";
import { expandArgv } from "../../app/command.ts";
import type { Command, HookName, Manifest } from "../../app/manifest.ts";
import type { Clock } from "../../lib/time/clock.ts";
import { SkeinError, type ErrorCode } from "../../lib/errors/errors.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import type { AppLog } from "./app-log.ts";
import { describeEnd, runCommand, SANE_PATH, type CommandResult, type RunAs } from "./command.ts";
import type { Groups } from "./groups.ts";

/** A hook's name as people and files spell it: `post-jump`. */
export type HookWord = "post-sync" | "pre-jump" | "un-jump" | "post-jump" | "pre-remove";

const HOOK_MS = 60_000;
const WORD_TO_KEY: Readonly<Record<HookWord, HookName>> = {
  "post-sync": "post_sync",
  "pre-jump": "pre_jump",
  "un-jump": "un_jump",
  "post-jump": "post_jump",
  "pre-remove": "pre_remove",
};

/** Where and as what a release's own commands run. */
export interface HookPlace {
  readonly app: string;
  readonly env: string;
  readonly release: string;
  readonly commit: string | null;
  /** What ran before (or after, when going back); null when nothing did. */
  readonly previous: string | null;
  readonly node: string;
  /** `…/apps`, FTL's root. */
  readonly root: string;
  /** The app's folder in it: what FTL calls the package. */
  readonly package: string;
  /** `…/revs/<id>` */
  readonly dir: string;
  readonly data: string;
  readonly user: RunAs | undefined;
  readonly manifest: Manifest;
}

export interface HookTools {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly log: AppLog;
  readonly groups: Groups;
}

/**
 * Runs a hook of a release if it has one (the manifest's, else the file of that name). Resolves to whether there was one.
 * @throws SkeinError HOOK_FAILED or HOOK_TIMEOUT, with the last lines in `data.lines`
 */
export async function runHook(hook: HookWord, place: HookPlace, tools: HookTools): Promise<boolean> {
  const found = await findHook(hook, place);
  if (found === undefined) return false;
  const env = { ...hookEnvironment(place), SKEIN_HOOK: hook };
  const result = await runOwn(hook, found.argv, found.withinMs, env, place, tools);
  if (result.end.kind === "exit" && result.end.code === 0) return true;
  const code: ErrorCode = result.end.kind === "timeout" ? "HOOK_TIMEOUT" : "HOOK_FAILED";
  throw ownFailure(code, hook, result, found.withinMs);
}

/** What the judged instances' sockets are called in the environment: `SKEIN_ADDRESS_<SOCKET>` to `host:port`. */
export type Addresses = Readonly<Record<string, string>>;

/**
 * The manifest's `verify`, with the version as its last argument.
 * @throws SkeinError VERIFY_FAILED
 */
export async function runVerify(
  place: HookPlace,
  version: string,
  addresses: Addresses,
  tools: HookTools,
): Promise<void> {
  const verify = place.manifest.verify;
  if (verify === null) return;
  const env = { ...hookEnvironment(place), ...addresses };
  const argv = commandArgv(verify.run, env, [version]);
  const result = await runOwn("verify", argv, verify.withinMs, env, place, tools);
  if (result.end.kind !== "exit" || result.end.code !== 0) {
    throw ownFailure("VERIFY_FAILED", "verify", result, verify.withinMs);
  }
  const health = printedHealth(result.tail);
  if (verify.threshold !== null && health !== undefined && health < verify.threshold) {
    throw new SkeinError("VERIFY_FAILED", `verify: health ${health} is below ${verify.threshold}`, {
      data: { stage: "verify", lines: result.tail, health, threshold: verify.threshold },
    });
  }
}

/**
 * What the manifest's `version` prints last; undefined when there is no such command.
 * @throws SkeinError HOOK_FAILED, HOOK_TIMEOUT
 */
export async function runVersion(place: HookPlace, tools: HookTools): Promise<string | undefined> {
  const { version } = place.manifest;
  if (version === null) return undefined;
  const env = hookEnvironment(place);
  const result = await runOwn("version", commandArgv(version, env, []), HOOK_MS, env, place, tools);
  if (result.end.kind === "exit" && result.end.code === 0)
    return result.tail.findLast((line) => line.trim() !== "")?.trim() ?? "";
  throw ownFailure(
    result.end.kind === "timeout" ? "HOOK_TIMEOUT" : "HOOK_FAILED",
    "version",
    result,
    HOOK_MS,
  );
}

/** The last `{"health": n}` among the lines that a verification printed. */
export function printedHealth(lines: readonly string[]): number | undefined {
  for (const line of lines.toReversed()) {
    try {
      const parsed: unknown = JSON.parse(line);
      if (typeof parsed !== "object" || parsed === null || !("health" in parsed)) continue;
      if (typeof parsed.health === "number") return parsed.health;
    } catch {
      continue; // a line of talk, not of JSON
    }
  }
  return undefined;
}

/** FTL's names and Skein's, built from nothing. */
export function hookEnvironment(place: HookPlace): Record<string, string> {
  return {
    PATH: SANE_PATH,
    LANG: "C.UTF-8",
    ...place.manifest.env,
    HOME: place.data,
    SKEIN_DATA: place.data,
    SKEIN_APP: place.app,
    SKEIN_ENV: place.env,
    SKEIN_RELEASE: place.release,
    SKEIN_PREVIOUS: place.previous ?? "",
    SKEIN_NODE: place.node,
    COMMIT: place.commit ?? place.release,
    REPO: place.app,
    FTL_PACKAGE: place.package,
    FTL_REVISION: place.release,
    FTL_ROOT: place.root,
    FTL_PREVIOUS: place.previous ?? "",
  };
}

type Argv = readonly [string, ...string[]];

async function findHook(
  hook: HookWord,
  place: HookPlace,
): Promise<{ readonly argv: Argv; readonly withinMs: number } | undefined> {
  const named = place.manifest.hooks[WORD_TO_KEY[hook]];
  if (named !== undefined) return { argv: ["/bin/sh", "-c", named.sh], withinMs: named.withinMs };
  for (const file of hookFiles(hook)) {
    const stat = await fs.stat(path.join(place.dir, file)).catch(() => undefined);
    if (stat?.isFile() !== true) continue;
    // Through a shell also where it is executable: a script without a #! line runs then, as it did with FTL.
    const text = (stat.mode & 0o111) === 0 ? `. ./${file}` : `exec ./${file}`;
    return { argv: ["/bin/sh", "-c", text], withinMs: HOOK_MS };
  }
  return undefined;
}

/** Where FTL's packages have their scripts: its first version at the top, its last one in a folder. */
function hookFiles(hook: HookWord): readonly string[] {
  const files = [`${hook}.sh`, `ftl/${hook}`, `ftl/${hook}.sh`];
  return hook === "post-sync" ? [...files, "ftl/post-spool"] : files;
}

function commandArgv(command: Command, env: Readonly<Record<string, string>>, args: readonly string[]): Argv {
  if ("sh" in command) return ["/bin/sh", "-c", command.sh, "sh", ...args];
  const [file = "/bin/false", ...rest] = expandArgv(command.argv, env);
  return [file, ...rest, ...args];
}

async function runOwn(
  stage: string,
  argv: Argv,
  withinMs: number,
  env: Readonly<Record<string, string>>,
  place: HookPlace,
  tools: HookTools,
): Promise<CommandResult> {
  const prefix = `${place.app}@${place.release.slice(0, 8)} ${stage} |`;
  await using group = await tools.groups.open(`${place.app}-${stage}`);
  faultPoint(`agent.hook-${stage}`);
  const result = await runCommand(
    {
      argv,
      cwd: place.dir,
      env: { ...env, ...group.mark },
      user: place.user,
      withinMs,
      onLine: (line) => {
        tools.log.line(`${prefix} ${line}`);
      },
      onGroup: group.started,
    },
    tools.clock,
    tools.signal,
  );
  tools.log.line(`${prefix} (${describeEnd(result.end, withinMs)})`);
  return result;
}

function ownFailure(code: ErrorCode, stage: string, result: CommandResult, withinMs: number): SkeinError {
  return new SkeinError(code, `${stage}: ${describeEnd(result.end, withinMs)}`, {
    data: { stage, lines: result.tail },
  });
}
