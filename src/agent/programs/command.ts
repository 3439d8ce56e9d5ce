import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import type { Clock } from "../../lib/time/clock.ts";
import { carriedEnv } from "../../lib/process/carried-env.ts";
import { errnoOf, messageOf } from "../../lib/errors/errors.ts";
import { cutLines } from "../../lib/text/lines.ts";
import { RunningTime } from "../../lib/time/own-time.ts";
import { withoutRights } from "../../keeper/launch.ts";
import { until } from "../../lib/time/until.ts";

/** Who a command runs as; undefined where the agent is not root. */
export interface RunAs {
  readonly uid: number;
  readonly gid: number;
}

export interface CommandSpec {
  readonly argv: readonly [string, ...string[]];
  readonly cwd: string;
  /** The whole environment: nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  readonly user: RunAs | undefined;
  readonly withinMs: number;
  /** Every line of stdout and stderr as it comes, without its newline. */
  readonly onLine: (line: string) => void;
  /** Told the process group as soon as there is one, so that it can be ended after the agent's own death. */
  readonly onGroup?: (pgid: number) => void;
}

export type CommandEnd =
  | { readonly kind: "exit"; readonly code: number }
  | { readonly kind: "signal"; readonly name: string }
  | { readonly kind: "timeout" }
  | { readonly kind: "unstarted"; readonly message: string };

export interface CommandResult {
  readonly end: CommandEnd;
  /** The last lines, at most `TAIL_LINES`. */
  readonly tail: readonly string[];
}

const SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Skein's own Node comes last: it serves apps where the machine has none, and never shadows theirs. */
export const SANE_PATH = `${SYSTEM_PATH}:${path.dirname(process.execPath)}`;

const TAIL_LINES = 20;
const LINE_CHARS = 4096;
const LINES_KEPT = 10_000;
const PIPE_GRACE_MS = 500;

/**
 * Runs one command in a process group of its own and always leaves that group empty: what a script left in the
 * background would otherwise outlive its time limit. Rejects only when `signal` aborts (after the group is gone).
 */
export async function runCommand(
  spec: CommandSpec,
  clock: Clock,
  signal: AbortSignal,
): Promise<CommandResult> {
  signal.throwIfAborted();
  const { tail, take } = lineKeeper(spec.onLine);
  const [out, err] = [cutLines(LINE_CHARS, take), cutLines(LINE_CHARS, take)];
  const { argv, env } = confined(spec);
  const [file, ...args] = argv;
  const child = spawn(file, args, {
    cwd: spec.cwd,
    env,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  if (child.pid !== undefined) spec.onGroup?.(child.pid);
  child.stdout.on("data", out.feed);
  child.stderr.on("data", err.feed);
  const end = await endOf(child, spec.withinMs, clock, signal);
  await pipesClosed(child, clock);
  out.end();
  err.end();
  signal.throwIfAborted();
  return { end, tail };
}

/** One sentence about how a command ended. */
export function describeEnd(end: CommandEnd, withinMs: number): string {
  if (end.kind === "exit") return `exit status ${end.code}`;
  if (end.kind === "signal") return `ended by ${end.name}`;
  if (end.kind === "timeout") return `no end within ${withinMs / 1000}s`;
  return end.message;
}

/** Kills a process group; a group that is gone already is fine. */
export function killGroup(pgid: number): void {
  try {
    process.kill(-pgid, "SIGKILL");
  } catch (err) {
    if (errnoOf(err) !== "ESRCH") throw err;
  }
}

/** What is to be started so that the command runs as its user, without rights, in its environment. */
function confined({ argv, env, user }: CommandSpec): Pick<CommandSpec, "argv" | "env"> {
  if (process.platform !== "linux") return { argv, env };
  const carried = carriedEnv(env);
  const shell = ["/bin/sh", "-c", `${carried.script}\nexec "$@"`, "sh"];
  return { argv: ["setpriv", ...withoutRights(user ?? null), "--", ...shell, ...argv], env: carried.env };
}

async function endOf(
  child: ChildProcess,
  withinMs: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<CommandEnd> {
  using over = until([signal]);
  try {
    const ended = once(child, "exit").then(([code, name]: unknown[]): CommandEnd => {
      if (typeof name === "string") return { kind: "signal", name };
      return { kind: "exit", code: typeof code === "number" ? code : 1 };
    });
    const limit = running(withinMs, clock, over.signal).then((): CommandEnd => ({ kind: "timeout" }));
    limit.catch(() => undefined);
    return await Promise.race([ended, limit]);
  } catch (err) {
    if (signal.aborted) return { kind: "timeout" };
    return { kind: "unstarted", message: messageOf(err) };
  } finally {
    over.abort();
    if (child.pid !== undefined) killGroup(child.pid);
  }
}

/** What ended while the agent was stopped is seen only after its timers are. */
async function running(ms: number, clock: Clock, signal: AbortSignal): Promise<void> {
  using passed = new RunningTime();
  for (let leftMs = ms; leftMs > 0; leftMs = ms - passed.ms) await clock.sleep(leftMs, signal);
}

/** A descendant that left the group can hold the pipes for ever: it gets a moment, then is no longer listened to. */
async function pipesClosed(child: ChildProcess, clock: Clock): Promise<void> {
  if (child.pid === undefined) return;
  const open = [child.stdout, child.stderr].filter((pipe) => pipe !== null && !pipe.closed);
  const stop = new AbortController();
  const grace = clock.sleep(PIPE_GRACE_MS, stop.signal).catch(() => undefined);
  await Promise.race([Promise.all(open.map(async (pipe) => pipe && once(pipe, "close"))), grace]);
  stop.abort();
  for (const pipe of open) pipe?.destroy();
}

interface LineKeeper {
  readonly tail: readonly string[];
  readonly take: (line: string) => void;
}

function lineKeeper(onLine: (line: string) => void): LineKeeper {
  const tail: string[] = [];
  let count = 0;
  return {
    tail,
    take(line) {
      tail.push(line);
      if (tail.length > TAIL_LINES) tail.shift();
      count += 1;
      if (count < LINES_KEPT) onLine(line);
      else if (count === LINES_KEPT) onLine("(further output is not kept)");
    },
  };
}

/** What was said last by what failed: a hook, a verification, an instance. */
export function lastLines(data: Readonly<Record<string, unknown>>): readonly string[] {
  const last = data["lines"] ?? data["tail"];
  return Array.isArray(last) ? last.map(String).filter((line) => line.trim() !== "") : [];
}
