import fs from "node:fs";
import { errnoOf } from "../lib/errors/errors.ts";

/** What /proc says about processes. Everything here answers "not there" instead of throwing when a process ends. */

export interface ProcessStat {
  readonly state: string;
  readonly parent: number;
  readonly group: number;
  /** Clock ticks after boot: with the pid it names a process for good. */
  readonly startTime: string;
  readonly threads: number;
  /** On its way out: what it holds goes one by one (PF_EXITING of the kernel's `sched.h`, in proc(5)'s `flags`). */
  readonly ending: boolean;
}

const PF_EXITING = 0x4;

export function statOf(pid: number): ProcessStat | undefined {
  const text = readOr(`/proc/${pid}/stat`, "");
  const rest = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const [state = "", parent = "", group = "", , , , flags] = rest;
  const [threads, , startTime] = rest.slice(17);
  if (startTime === undefined) return undefined;
  return {
    state,
    parent: Number(parent),
    group: Number(group),
    startTime,
    threads: Number(threads),
    ending: (Number(flags) & PF_EXITING) !== 0,
  };
}

/** Does exactly this process still run? A zombie does not. */
export function runs(pid: number, startTime: string): boolean {
  const stat = statOf(pid);
  return stat !== undefined && stat.startTime === startTime && !isDead(stat);
}

/** A process whose first thread alone has ended looks like a zombie, and holds its sockets while others go on. */
export const isDead = ({ state, threads }: ProcessStat): boolean =>
  state === "X" || (state === "Z" && threads <= 1);

function allPids(): number[] {
  return listOr("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** The living processes of a group. */
export function groupMembers(group: number): number[] {
  if (!groupExists(group)) return [];
  return allPids().filter((pid) => {
    const stat = statOf(pid);
    return stat !== undefined && stat.group === group && !isDead(stat);
  });
}

/** Cheap: also true while only zombies are left. */
export function groupExists(group: number): boolean {
  try {
    process.kill(-group, 0);
    return true;
  } catch (err) {
    return errnoOf(err) === "EPERM";
  }
}

export function signalGroup(group: number, signal: NodeJS.Signals): void {
  signalProcess(-group, signal);
}

/** One that is gone, or has become another user's, is passed over. @param pid below 0: a group's */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (err) {
    if (!["ESRCH", "EPERM"].includes(errnoOf(err) ?? "")) throw err;
  }
}

/** Descriptor to inode, for the sockets that a process holds. */
export function socketsOf(pid: number): Map<number, number> {
  const found = new Map<number, number>();
  for (const fd of listOr(`/proc/${pid}/fd`)) {
    const inode = socketInode(`/proc/${pid}/fd/${fd}`);
    if (inode !== undefined) found.set(Number(fd), inode);
  }
  return found;
}

/** Inode of the socket that a descriptor's link names, or undefined. */
export function socketInode(link: string): number | undefined {
  try {
    const match = /^socket:\[(\d+)\]$/.exec(fs.readlinkSync(link));
    return match === null ? undefined : Number(match[1]);
  } catch {
    return undefined;
  }
}

/** A process whose environment has this entry; how an instance is found that was started in a keeper's last moment. */
export function findByEnvironment(entry: string): number | undefined {
  return allPids().find((pid) => hasInEnvironment(pid, entry));
}

/** All living processes whose environment has this entry. A zombie has none. */
export function allByEnvironment(entry: string): number[] {
  return allPids().filter((pid) => hasInEnvironment(pid, entry));
}

function hasInEnvironment(pid: number, entry: string): boolean {
  return readOr(`/proc/${pid}/environ`, "").split("\0").includes(entry);
}

export function bootId(): string {
  return readOr("/proc/sys/kernel/random/boot_id", "").trim();
}

export function readOr(file: string, fallback: string): string {
  try {
    return fs.readFileSync(file, "latin1");
  } catch {
    return fallback;
  }
}

export function listOr(dir: string): string[] {
  try {
    return fs.readdirSync(dir);
  } catch {
    return [];
  }
}
