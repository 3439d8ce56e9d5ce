import { groupMembers, readOr, socketsOf, statOf } from "./proc.ts";

const TCP_ESTABLISHED = "01";
const UNIX_CONNECTED = "03";

/** Where an instance's clients connect to: an app's connection to its own database is not a client's. */
export interface ClientSide {
  readonly ports: ReadonlySet<number>;
  readonly paths: ReadonlySet<string>;
}

/** Inodes of the established client connections that the processes of a group hold. */
export function clientConnections(group: number, side: ClientSide): Set<number> {
  return connectionsOf(groupMembers(group), side);
}

/** The same of a group that stays: undefined where it is gone, or one of its processes was ending, which let go of some. */
export function steadyConnections(group: number, side: ClientSide): Set<number> | undefined {
  const pids = groupMembers(group);
  if (pids.length === 0) return undefined;
  const found = connectionsOf(pids, side);
  return pids.every((pid) => statOf(pid)?.ending === false) ? found : undefined;
}

function connectionsOf(pids: readonly number[], side: ClientSide): Set<number> {
  const first = pids[0];
  if (first === undefined || side.ports.size + side.paths.size === 0) return new Set();
  const held = new Set(pids.flatMap((pid) => [...socketsOf(pid).values()]));
  return new Set(
    [...tcpInodes(first, side.ports), ...unixInodes(first, side.paths)].filter((i) => held.has(i)),
  );
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
