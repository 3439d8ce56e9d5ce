import fs from "node:fs";
import os from "node:os";
import { groupMembers, listOr, readOr, socketsOf } from "../../keeper/proc.ts";

/**
 * Does a process group wait on a socket? `waits`: it is seen to (epoll, or blocked in accept, recv, poll or select).
 * `holds`: it has the descriptor, but how it waits cannot be seen. `no`: it does not even hold it.
 */
export type Waiting = "waits" | "holds" | "no";

export function waitingOn(group: number, inode: number): Waiting {
  let holds = false;
  for (const pid of groupMembers(group)) {
    const fds = new Set([...socketsOf(pid)].filter(([, held]) => held === inode).map(([fd]) => fd));
    if (fds.size === 0) continue;
    holds = true;
    if (inEpoll(pid, fds) || threadsWait(pid, fds)) return "waits";
  }
  return holds ? "holds" : "no";
}

/** Is one of the descriptors registered for reading with any epoll of the process? */
function inEpoll(pid: number, fds: ReadonlySet<number>): boolean {
  return listOr(`/proc/${pid}/fdinfo`).some((fd) =>
    readOr(`/proc/${pid}/fdinfo/${fd}`, "")
      .split("\n")
      .some((line) => {
        const match = /^tfd:\s*(\d+)\s+events:\s*([0-9a-f]+)/.exec(line);
        return match !== null && fds.has(Number(match[1])) && (parseInt(match[2] ?? "0", 16) & 1) === 1;
      }),
  );
}

interface Calls {
  readonly direct: readonly number[];
  readonly poll: readonly number[];
  readonly select: readonly number[];
}

/** System call numbers: accept, accept4, recvfrom, recvmsg; poll, ppoll; select, pselect6. */
const CALLS: Readonly<Record<string, Calls>> = {
  x64: { direct: [43, 288, 45, 47, 0], poll: [7, 271], select: [23, 270] },
  arm64: { direct: [202, 242, 207, 212, 63], poll: [73], select: [72] },
};

function threadsWait(pid: number, fds: ReadonlySet<number>): boolean {
  const calls = CALLS[os.arch()];
  if (calls === undefined) return false;
  return listOr(`/proc/${pid}/task`).some((task) => {
    const [call = "", ...args] = readOr(`/proc/${pid}/task/${task}/syscall`, "").trim().split(" ");
    const [first = 0n, second = 0n] = args.slice(0, 2).map((arg) => BigInt(arg));
    const number = Number(call);
    if (call === "" || Number.isNaN(number)) return false;
    if (calls.direct.includes(number)) return fds.has(Number(first));
    if (calls.poll.includes(number)) return pollHas(pid, first, Number(second), fds);
    return calls.select.includes(number) && selectHas(pid, second, Number(first), fds);
  });
}

const POLLFD_BYTES = 8;
const POLLED_AT_MOST = 4096;

/** An array of {int fd; short events; short revents}. */
function pollHas(pid: number, address: bigint, count: number, fds: ReadonlySet<number>): boolean {
  const memory = readMemory(pid, address, Math.min(count, POLLED_AT_MOST) * POLLFD_BYTES);
  for (let at = 0; at + POLLFD_BYTES <= memory.length; at += POLLFD_BYTES) {
    if (fds.has(memory.readInt32LE(at)) && (memory.readInt16LE(at + 4) & 1) === 1) return true;
  }
  return false;
}

/** A bit set of descriptors. */
function selectHas(pid: number, address: bigint, count: number, fds: ReadonlySet<number>): boolean {
  const memory = readMemory(pid, address, Math.ceil(Math.min(count, POLLED_AT_MOST) / 64) * 8);
  return [...fds].some((fd) => ((memory[fd >> 3] ?? 0) & (1 << (fd & 7))) !== 0);
}

function readMemory(pid: number, address: bigint, length: number): Buffer {
  if (address === 0n || length === 0) return Buffer.alloc(0);
  try {
    const fd = fs.openSync(`/proc/${pid}/mem`, "r");
    try {
      const buffer = Buffer.alloc(length);
      return buffer.subarray(0, fs.readSync(fd, buffer, 0, length, address));
    } finally {
      fs.closeSync(fd);
    }
  } catch {
    return Buffer.alloc(0);
  }
}
