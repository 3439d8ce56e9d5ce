import { groupMembers, readOr, socketsOf } from "../../keeper/proc.ts";
import type { SocketAddress } from "./address.ts";

const TCP_LISTEN = "0A";

/** Does a process group itself listen (UDP: has bound) at an address? For sockets that Skein does not hold. */
export function listensOn(group: number, address: SocketAddress): boolean {
  const pids = groupMembers(group);
  const [first] = pids;
  if (first === undefined) return false;
  const inodes = new Set(inodesAt(first, address));
  return pids.some((pid) => [...socketsOf(pid).values()].some((inode) => inodes.has(inode)));
}

function* inodesAt(pid: number, address: SocketAddress): Generator<number> {
  if (address.path !== null) {
    for (const line of readOr(`/proc/${pid}/net/unix`, "").split("\n")) {
      const columns = line.trim().split(/\s+/);
      if (columns[7] === address.path) yield Number(columns[6]);
    }
    return;
  }
  const udp = address.protocol === "udp";
  for (const table of udp ? ["udp", "udp6"] : ["tcp", "tcp6"]) {
    for (const line of readOr(`/proc/${pid}/net/${table}`, "").split("\n")) {
      const [, local = "", , state, , , , , , inode] = line.trim().split(/\s+/);
      if (!udp && state !== TCP_LISTEN) continue;
      if (parseInt(local.slice(local.lastIndexOf(":") + 1), 16) === address.port) yield Number(inode);
    }
  }
}
