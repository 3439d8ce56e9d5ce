import { timerMs } from "../lib/time/clock.ts";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { SkeinError } from "../lib/errors/errors.ts";
import { cutLines } from "../lib/text/lines.ts";
import { formatDuration } from "../lib/text/units.ts";
import { workFolder } from "./work-folder.ts";

export interface BuildOptions {
  /** A clean checkout; the commands run in it and may write there. */
  readonly dir: string;
  /** For `sh -c`; null: there is none. */
  readonly run: string | null;
  /** After `run`; null: there is none. */
  readonly test: string | null;
  /** For each of the two, in ms. */
  readonly withinMs: number;
  /** Where package managers may keep things from one build to the next. */
  readonly cacheDir: string;
  /** Added to an environment that is otherwise built from nothing: nothing of the caller's leaks into a build. */
  readonly env: Readonly<Record<string, string>>;
  readonly onLine: (line: string, stage: "build" | "test") => void;
  readonly signal: AbortSignal;
}

const TAIL_LINES = 20;
const LINE_CHARS = 4096;
const KILL_AFTER_MS = 2000;
const SANE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Runs a manifest's build and then its test. @throws SkeinError BUILD_FAILED with data {stage, lines} */
export async function build(options: BuildOptions): Promise<void> {
  const { cacheDir, run, test, onLine } = options;
  using home = workFolder((line) => onLine(line, "build"));
  await fs.mkdir(cacheDir, { recursive: true, mode: 0o700 });
  if (run !== null) await stage("build", run, home.dir, options);
  if (test !== null) await stage("test", test, home.dir, options);
}

function environment(home: string, options: BuildOptions): Record<string, string> {
  return {
    PATH: SANE_PATH,
    HOME: home,
    LANG: "C.UTF-8",
    CI: "1",
    XDG_CACHE_HOME: options.cacheDir,
    npm_config_cache: path.join(options.cacheDir, "npm"),
    ...options.env,
  };
}

async function stage(
  name: "build" | "test",
  command: string,
  home: string,
  options: BuildOptions,
): Promise<void> {
  options.signal.throwIfAborted();
  const env = environment(home, options);
  const child = spawn("/bin/sh", ["-c", command], {
    cwd: options.dir,
    env,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const lines: string[] = [];
  const told = [child.stdout, child.stderr].map((stream) => {
    const cut = cutLines(LINE_CHARS, (line) => {
      lines.push(line);
      if (lines.length > TAIL_LINES) lines.shift();
      options.onLine(line, name);
    });
    stream.on("data", cut.feed);
    return cut;
  });
  const reason = await outcome(child, options);
  for (const cut of told) cut.end();
  if (reason === undefined) return;
  options.signal.throwIfAborted();
  throw new SkeinError("BUILD_FAILED", `the ${name} (${command}) ${reason}`, {
    ...(reason === NOT_FOUND ? { hint: PATH_HINT } : {}),
    data: { stage: name, command, lines },
  });
}

const NOT_FOUND = "ended with 127";
const PATH_HINT =
  "See its last lines above. A build finds programs in the system's folders alone: name another by its path, or build beforehand and deploy the folder with --from.";

/** Why the command failed, or undefined. Whatever it started is gone when this returns. */
async function outcome(child: ChildProcess, options: BuildOptions): Promise<string | undefined> {
  const limit = new AbortController();
  const exited = once(child, "exit") as Promise<[number | null, NodeJS.Signals | null]>;
  const stop = AbortSignal.any([limit.signal, options.signal]);
  const timer = sleep(timerMs(options.withinMs), "late" as const, { signal: stop, ref: false }).catch(
    () => "stopped" as const,
  );
  try {
    const first = await Promise.race([exited, timer]);
    if (first === "late") return `did not end within ${formatDuration(options.withinMs)}`;
    if (first === "stopped") return "was stopped";
    const [code, signal] = first;
    if (code === 0) return undefined;
    return code === null ? `was ended by ${String(signal)}` : `ended with ${code}`;
  } catch (err) {
    return `could not be started: ${String(err)}`;
  } finally {
    limit.abort();
    await endGroup(child);
  }
}

/** A build may leave helpers behind (servers of test suites): the whole group ends with it. */
async function endGroup(child: ChildProcess): Promise<void> {
  if (child.pid === undefined) return;
  if (signalGroup(child.pid, "SIGTERM")) {
    const until = performance.now() + KILL_AFTER_MS;
    while (performance.now() < until && signalGroup(child.pid, 0)) await sleep(20);
    signalGroup(child.pid, "SIGKILL");
  }
  if (child.stdout?.closed === false) await Promise.race([once(child, "close"), sleep(KILL_AFTER_MS)]);
}

function signalGroup(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-pid, signal);
  } catch {
    return false;
  }
}
