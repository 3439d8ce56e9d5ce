import { spawn, type ChildProcess } from "node:child_process";
import fs from "node:fs";
import { carriedEnv } from "../lib/process/carried-env.ts";
import { errnoOf, messageOf, SkeinError } from "../lib/errors/errors.ts";
import type { InstanceSpec } from "./protocol.ts";

export interface Launch {
  readonly spec: InstanceSpec;
  readonly log: number;
  /** Descriptors that become 3, 4, ... */
  readonly fds: readonly number[];
  /** Whether a pipe for status lines comes after them. */
  readonly statusPipe: boolean;
  readonly cages: readonly string[];
  /** How many descriptors it may have open; null: as many as this process. */
  readonly files: number | null;
}

const EXEC = 'exec "$@"';

/**
 * Starts the process as the leader of its own session. It goes through a shell for its control groups and its place
 * when memory runs out, `prlimit` for descriptors, `setpriv` for user and rights, and a shell for its environment and
 * LISTEN_PID; all of these become the app by exec, so the pid stays. Not bound to this process's life in any way.
 * @throws SkeinError START_FAILED, USER_REFUSED
 */
export function launch({ spec, log, fds, statusPipe, cages, files }: Launch): ChildProcess {
  const { env, script } = carriedEnv(spec.env);
  const after = [script, "export LISTEN_PID=$$", EXEC].join("\n");
  const argv = [
    ...placed(cages, ownScore()),
    ...bounded(files),
    ...confined(spec),
    "/bin/sh",
    "-c",
    after,
    "sh",
  ];
  const [file = "", ...words] = [...argv, ...spec.argv];
  try {
    const child = spawn(file, words, {
      cwd: spec.cwd,
      env,
      detached: true,
      stdio: ["ignore", log, log, ...fds, ...(statusPipe ? (["pipe"] as const) : [])],
    });
    child.on("error", () => undefined); // an undefined pid tells the same
    return child;
  } catch (err) {
    throw new SkeinError("START_FAILED", `${spec.key}: ${messageOf(err)}`, {
      cause: err,
      data: { errno: errnoOf(err), cwd: spec.cwd },
    });
  }
}

/**
 * The words that put what follows them where it belongs.
 * @param score of this process where memory runs out, see proc(5): below 0 as its unit has it, others are ended before it.
 * That is not for what it starts: an app that takes all memory would see the rest of the machine killed first.
 */
export function placed(cages: readonly string[], score: number): string[] {
  const steps = [
    ...(score < 0 ? ["echo 0 > /proc/self/oom_score_adj"] : []),
    ...cages.map((folder) => `echo $$ > '${folder}/cgroup.procs' || exit 126`),
  ];
  return steps.length === 0 ? [] : ["/bin/sh", "-c", [...steps, EXEC].join("\n"), "sh"];
}

function ownScore(): number {
  try {
    return Number(fs.readFileSync("/proc/self/oom_score_adj", "utf8"));
  } catch {
    return 0; // no Linux
  }
}

function bounded(files: number | null): string[] {
  const prlimit = tool("prlimit");
  return files === null || prlimit === undefined ? [] : [prlimit, `--nofile=${files}:${files}`];
}

/** How many descriptors an instance can be given here of so many that it shall have; null: it cannot be bounded. */
export function descriptorsOf(files: number): number | null {
  return tool("prlimit") === undefined ? null : Math.min(files, mostFiles());
}

/** CAP_SYS_RESOURCE, see capabilities(7): who has it may go over its own hard limit. */
const RESOURCE_BIT = 1n << 24n;

/** The most descriptors that this process may give to another: its own hard limit, or with the right the kernel's. */
function mostFiles(): number {
  const [, hard = ""] =
    /^Max open files +\S+ +(\S+)/m.exec(fs.readFileSync("/proc/self/limits", "utf8")) ?? [];
  const [, rights = "0"] = /^CapEff:\s*(\S+)/m.exec(fs.readFileSync("/proc/self/status", "utf8")) ?? [];
  const mayRaise = hard === "unlimited" || (BigInt(`0x${rights}`) & RESOURCE_BIT) !== 0n;
  return Number(mayRaise ? fs.readFileSync("/proc/sys/fs/nr_open", "utf8") : hard);
}

function confined(spec: InstanceSpec): string[] {
  const setpriv = tool("setpriv");
  const root = process.getuid?.() === 0;
  if (spec.user !== null && !root) {
    throw new SkeinError("USER_REFUSED", `${spec.key}: only root can start processes of another user`);
  }
  if (setpriv === undefined) {
    if (spec.user === null) return [];
    throw new SkeinError("USER_REFUSED", `${spec.key}: setpriv (util-linux) is missing on this machine`);
  }
  return [setpriv, ...withoutRights(spec.user), "--"];
}

/** What setpriv is told, so that whatever an app has started runs as its user, and comes to no other's rights. */
export function withoutRights(user: InstanceSpec["user"]): string[] {
  if (user === null) return ["--no-new-privs"];
  return [
    `--reuid=${user.uid}`,
    `--regid=${user.gid}`,
    "--clear-groups",
    "--no-new-privs",
    "--bounding-set=-all",
    "--inh-caps=-all",
  ];
}

const tools = new Map<string, string | undefined>();

function tool(name: string): string | undefined {
  if (!tools.has(name)) {
    const places = ["/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin"];
    tools.set(
      name,
      places.map((dir) => `${dir}/${name}`).find((file) => fs.existsSync(file)),
    );
  }
  return tools.get(name);
}
