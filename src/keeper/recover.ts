import { messageOf } from "../lib/errors/errors.ts";
import { hostPortText } from "../lib/text/host-port.ts";
import { kernel } from "./ffi.ts";
import { markOf, type InstanceRecord } from "./instance.ts";
import type { SocketView } from "./protocol.ts";
import { findByEnvironment, groupMembers, runs, socketsOf, statOf } from "./proc.ts";
import type { HeldSockets } from "./sockets.ts";

/**
 * The living process of an instance that an earlier keeper started, or undefined. Where that keeper ended between
 * starting it and writing its pid down, it is found by its environment.
 */
export function survivorOf(record: InstanceRecord): number | undefined {
  if (record.pid > 0) return runs(record.pid, record.startTime) ? record.pid : undefined;
  if (record.state !== "running") return undefined;
  const mark = markOf(record.spec);
  const pid = mark === undefined ? undefined : findByEnvironment(mark);
  return pid === undefined ? undefined : statOf(pid)?.group;
}

/**
 * Copies listening sockets out of the processes that hold them (`groups`: leaders of the living instances); what
 * nobody holds any more is bound anew. What was lost is told in `lost`.
 */
export function recoverSockets(
  views: readonly SocketView[],
  groups: readonly number[],
  held: HeldSockets,
  lost: string[],
): void {
  const holders = holdersByInode(groups);
  for (const view of views) {
    const where = view.path ?? hostPortText(view);
    try {
      const holder = holders.get(view.inode);
      const fd = holder === undefined ? undefined : kernel()?.takeFd(holder.pid, holder.fd);
      if (fd !== undefined) held.adopt(view, fd);
      else {
        held.listen(view);
        if (view.unimportant === true) continue;
        lost.push(`the socket ${where} was bound anew: connections waiting in its queue were lost`);
      }
    } catch (err) {
      lost.push(`the socket ${where} could not be taken back: ${messageOf(err)}`);
    }
  }
}

function holdersByInode(groups: readonly number[]): Map<number, { pid: number; fd: number }> {
  const found = new Map<number, { pid: number; fd: number }>();
  for (const pid of groups.flatMap((group) => groupMembers(group))) {
    for (const [fd, inode] of socketsOf(pid)) found.set(inode, { pid, fd });
  }
  return found;
}
