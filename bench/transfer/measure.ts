/** What a transfer costs: bytes on the link, wall time, CPU at both ends. */
import { execFile, spawn } from "node:child_process";
import fs from "node:fs";
import { promisify } from "node:util";
import type { Wire } from "./namespace.ts";

export interface Cost {
  /** Both ways, frames whole. */
  readonly bytes: number;
  /** From the sender. */
  readonly sent: number;
  /** From the word that starts the transfer to the whole tree on the receivers' disks. */
  readonly wallMs: number;
  /** The same with what whoever gives that word looked up before. */
  readonly askedMs: number;
  /** CPU seconds, user and system, children included; from the word that starts the transfer until nothing more is said. */
  readonly senderCpu: number;
  /** The same with what whoever gives that word looked up before. */
  readonly askedCpu: number;
  readonly receiverCpu: number;
}

const exec = promisify(execFile);

/** By `performance.now()`, and the sender's CPU seconds until then. */
export interface Moment {
  readonly at: number;
  readonly senderCpu: number;
}

export interface Transferred {
  /** CPU seconds of receivers that ended meanwhile. */
  readonly receiverCpu: number;
  /** When the word was given; undefined: at once. */
  readonly began?: Moment | undefined;
  /** What is still said about it afterwards; its time is not counted. */
  readonly over?: Promise<unknown> | undefined;
}

/** Clock ticks a second: what /proc counts CPU time in. */
const TICKS = 100;
const QUIET_MS = 300;
const QUIET_AT_MOST_MS = 5000;
/** A peer that hangs is a failure of the benchmark. */
const TIMED_AT_MOST_MS = 300_000;

/**
 * Counts what `transfer` costs. It resolves when the receivers have what they should have; what still crosses the
 * link afterwards is counted too, the time is not.
 * @param processes leaders of groups: `sender` those that serve, `receiver` those that live before and after
 */
export async function costOf(
  wire: Wire,
  processes: { readonly sender: readonly number[]; readonly receiver: readonly number[] },
  transfer: () => Promise<Transferred>,
): Promise<Cost> {
  const before = {
    bytes: wire.bytes(),
    sent: wire.sent(),
    sender: cpuOf(processes.sender),
    receiver: cpuOf(processes.receiver),
  };
  const begin: Moment = { at: performance.now(), senderCpu: before.sender };
  const { receiverCpu, began = begin, over } = await transfer();
  const end = performance.now();
  await over;
  await quiet(wire);
  const senderCpu = cpuOf(processes.sender);
  return {
    bytes: wire.bytes() - before.bytes,
    sent: wire.sent() - before.sent,
    wallMs: end - began.at,
    askedMs: end - begin.at,
    senderCpu: senderCpu - began.senderCpu,
    askedCpu: senderCpu - begin.senderCpu,
    receiverCpu: receiverCpu + cpuOf(processes.receiver) - before.receiver,
  };
}

/** What was written before lies on the disk: no transfer's flush pays for it. */
export async function written(dir: string, signal: AbortSignal): Promise<void> {
  await exec("sync", ["-f", dir], { signal });
}

/** Nothing crosses the link any more. */
export async function quiet(wire: Wire): Promise<void> {
  const end = performance.now() + QUIET_AT_MOST_MS;
  for (let bytes = -1; bytes !== wire.bytes() && performance.now() < end;) {
    bytes = wire.bytes();
    await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
  }
}

/** CPU seconds of all processes of these groups and of those of their children that have ended. */
export function cpuOf(groups: readonly number[]): number {
  let ticks = 0;
  for (const name of fs.readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const fields = statOf(name);
    if (!groups.includes(Number(fields[GROUP]))) continue;
    ticks += TIMES.reduce((sum, at) => sum + Number(fields[at]), 0);
  }
  return ticks / TICKS;
}

/** Where in /proc/PID/stat, after the command: the process group; user and system time, and the same of children. */
const GROUP = 2;
const TIMES = [11, 12, 13, 14] as const;

function statOf(pid: string): readonly string[] {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
    // The command's name may hold spaces; the fields begin after its bracket.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  } catch {
    return []; // ended meanwhile
  }
}

/** The most resident memory that one of these living processes ever had, in MiB; 0 for those that have ended. */
export function peakMib(pids: readonly number[]): number {
  return Math.max(0, ...pids.map((pid) => peakOf(String(pid))));
}

/** From now on the peak of these processes counts from what they hold now. */
export function forgetPeaks(pids: readonly number[]): void {
  for (const pid of pids) fs.writeFileSync(`/proc/${pid}/clear_refs`, "5");
}

/** The same of all processes of a group. */
export function peakOfGroup(leader: number): number {
  return Math.max(0, ...groupOf(leader).map(peakOf));
}

/** How many processes a group has. */
export function sizeOfGroup(leader: number): number {
  return groupOf(leader).length;
}

function groupOf(leader: number): readonly string[] {
  const pids = fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.filter((pid) => Number(statOf(pid)[GROUP]) === leader);
}

function peakOf(pid: string): number {
  try {
    const match = /^VmHWM:\s+(\d+) kB/m.exec(fs.readFileSync(`/proc/${pid}/status`, "utf8"));
    return Number(match?.[1] ?? 0) / 1024;
  } catch {
    return 0; // ended meanwhile
  }
}

/** A shell line to its end. @returns CPU seconds, children included */
export async function timed(
  within: readonly string[],
  cwd: string,
  line: string,
  signal: AbortSignal,
): Promise<number> {
  const script = `TIMEFORMAT="%U %S"; time { ${line} ; } >/dev/null 2>&1`;
  const [command, ...args] = [...within, "bash", "-e", "-o", "pipefail", "-c", script];
  const limit = AbortSignal.any([signal, AbortSignal.timeout(TIMED_AT_MOST_MS)]);
  const child = spawn(command, args, { cwd, signal: limit, stdio: ["ignore", "ignore", "pipe"] });
  let text = "";
  for await (const part of child.stderr.setEncoding("utf8")) text += String(part);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    if (child.exitCode !== null) resolve(child.exitCode);
    else child.once("exit", resolve);
  });
  if (code !== 0) throw new Error(`${line} ended with ${code}:\n${text}`);
  const [user = Number.NaN, system = Number.NaN] = (text.trim().split("\n").at(-1) ?? "")
    .split(" ")
    .map(Number);
  return user + system;
}
