import { groupMembers, isDead, readOr, socketsOf, statOf } from "./proc.ts";

const TCP_ESTABLISHED = "01";
const UNIX_CONNECTED = "03";

/** Where an instance's clients connect to: an app's connection to its own database is not a client's. */
export interface ClientSide {
  readonly ports: ReadonlySet<number>;
  readonly paths: ReadonlySet<string>;
}

/** Inodes of the established client connections that the processes of a group hold. */
export function clientConnections(group: number, side: ClientSide): Set<number> {
  const established = connectedOn(memberOf(group), side);
  // Mostly nobody is connected: then not all processes of the machine are gone through.
  return established.size === 0 ? established : heldBy(groupMembers(group), established);
}

/** The same of a group that stays: undefined where it is gone, or one of its processes was ending, which let go of some. */
export function steadyConnections(group: number, side: ClientSide): Set<number> | undefined {
  const pids = groupMembers(group);
  if (pids.length === 0) return undefined;
  const found = heldBy(pids, connectedOn(pids[0], side));
  return pids.every((pid) => statOf(pid)?.ending === false) ? found : undefined;
}

/** A living process of the group: its first one, as a rule. */
function memberOf(group: number): number | undefined {
  const first = statOf(group);
  return first?.group === group && !isDead(first) ? group : groupMembers(group)[0];
}

/** Who is connected there in the network that this process sees, whoever holds the other end. */
function connectedOn(pid: number | undefined, side: ClientSide): Set<number> {
  if (pid === undefined) return new Set();
  return new Set([...tcpInodes(pid, side.ports), ...unixInodes(pid, side.paths)]);
}

function heldBy(pids: readonly number[], inodes: ReadonlySet<number>): Set<number> {
  return new Set(pids.flatMap((pid) => [...socketsOf(pid).values()]).filter((inode) => inodes.has(inode)));
}

function* tcpInodes(pid: number, ports: ReadonlySet<number>): Generator<number> {
  if (ports.size === 0) return;
  for (const table of ["tcp", "tcp6"]) {
    for (const line of readOr(`/proc/${pid}/net/${table}`, "").split("\n")) {
      const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
      if (state !== TCP_ESTABLISHED || local === undefined) continue;
      if (ports.has(parseInt(local.slice(local.lastIndexOf(":") + 1), 16))) yield Number(inode);
    }
  }
}

function* unixInodes(pid: number, paths: ReadonlySet<string>): Generator<number> {
  if (paths.size === 0) return;
  for (const line of readOr(`/proc/${pid}/net/unix`, "").split("\n")) {
    const [, , , , , state, inode, path] = line.trim().split(/\s+/);
    if (state === UNIX_CONNECTED && path !== undefined && paths.has(path)) yield Number(inode);
  }
}
