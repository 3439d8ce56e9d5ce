import { setTimeout as sleep } from "node:timers/promises";
import { RunningTime } from "../lib/time/own-time.ts";
import { clientConnections, steadyConnections, type ClientSide } from "./connections.ts";
import type { StopSpec } from "./protocol.ts";
import { allByEnvironment, groupExists, groupMembers, signalGroup, signalProcess, statOf } from "./proc.ts";

const POLL_MS = 20;
const OLD_MS = 50;
/** Looking at thousands of connections takes its time: it is done at most for a tenth of it. */
const LOOK_SHARE = 10;
const KILLED_WITHIN_MS = 10_000;

export interface Ended {
  readonly forced: boolean;
  readonly cut: number;
}

/**
 * Ends a process group: the signal goes to all of it and all of it is waited for (npm dies at once while the server
 * below it drains). What was still connected at a forced end was cut; so was a connection older than `OLD_MS` that
 * vanished together with the process before the drain's window was over.
 */
export async function endGroup(group: number, stop: StopSpec, side: ClientSide): Promise<Ended> {
  const young = clientConnections(group, side);
  let last: Set<number> = young;
  if (young.size > 0) {
    await sleep(OLD_MS);
    last = intersect(young, clientConnections(group, side));
  }
  let lookAgain = 0;
  // A machine that was paused has paused the group, too.
  using elapsed = new RunningTime();
  signalGroup(group, stop.signal as NodeJS.Signals);
  while (elapsed.ms < stop.withinMs) {
    await sleep(POLL_MS);
    if (!isAlive(group)) return { forced: false, cut: elapsed.ms < stop.windowMs ? last.size : 0 };
    if (last.size === 0 || elapsed.ms > stop.windowMs || elapsed.ms < lookAgain) continue;
    const before = elapsed.ms;
    last = intersect(last, steadyConnections(group, side) ?? last);
    lookAgain = elapsed.ms + LOOK_SHARE * (elapsed.ms - before);
  }
  const cut = clientConnections(group, side).size;
  const forced = isAlive(group);
  signalGroup(group, stop.now as NodeJS.Signals);
  await killed(group);
  return { forced, cut: forced ? cut : 0 };
}

/** Kills whatever is left of a group, and its strays. */
export async function killGroup(group: number, mark: string | undefined): Promise<void> {
  signalGroup(group, "SIGKILL");
  await killed(group);
  await killStrays(mark);
}

/**
 * Kills what left its group for a session of its own, as daemons do: it would hold the next one's port, and nobody
 * would stop it. @param mark an entry of the environment that this instance's processes alone have
 */
export async function killStrays(mark: string | undefined): Promise<void> {
  if (mark === undefined) return;
  const until = performance.now() + KILLED_WITHIN_MS;
  for (let left = allByEnvironment(mark); left.length > 0 && performance.now() < until;) {
    for (const pid of left) signalProcess(pid, "SIGKILL");
    await sleep(POLL_MS);
    left = allByEnvironment(mark);
  }
}

async function killed(group: number): Promise<void> {
  const until = performance.now() + KILLED_WITHIN_MS;
  while (isAlive(group) && performance.now() < until) {
    await sleep(POLL_MS);
    signalGroup(group, "SIGKILL");
  }
}

/** The leader is looked at first: only when it has gone are all processes of the machine gone through. */
function isAlive(group: number): boolean {
  if (!groupExists(group)) return false;
  const leader = statOf(group);
  if (leader !== undefined && leader.group === group && leader.state !== "Z") return true;
  return groupMembers(group).length > 0;
}

function intersect(a: ReadonlySet<number>, b: ReadonlySet<number>): Set<number> {
  return new Set([...a].filter((inode) => b.has(inode)));
}
