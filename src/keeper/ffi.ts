import fs from "node:fs";
import { SkeinError } from "../lib/errors/errors.ts";
import { hostPortText } from "../lib/text/host-port.ts";

/**
 * The few calls that Node does not offer, over `node:ffi`, in this one file. Where there is no ffi (another platform
 * or Node) `kernel` is undefined and the modes that need it are refused by their callers.
 */
export interface Kernel {
  /** From now on connects queue, whoever accepts later. */
  listen(fd: number, backlog: number): void;
  /** Clears O_NONBLOCK, which all holders share: a server that wants it sets it, one that does not would fail. */
  setBlocking(fd: number): void;
  /** A bound datagram socket's descriptor, closed on exec. */
  udp(host: string, port: number): number;
  /** Takes a lock on an open file that ends with this process; false when another holds it. */
  lockFile(fd: number): boolean;
  /** Lets other processes of this user copy descriptors from this one also where Yama would forbid it. */
  allowCopies(): void;
  /** What whoever started this process had open stays open here, and goes to none of its children. */
  keepStrays(): void;
  /** A copy of another process's descriptor (pidfd_open, pidfd_getfd). */
  takeFd(pid: number, fd: number): number;
  /** Has everybody gone who could read what is written to this pipe or socket? */
  isReaderGone(fd: number): boolean;
  /** From now on memory that is freed goes back to the system at once; nothing where the C library has no such thing. */
  returnMemory(): void;
}

const PIDFD_OPEN = 434n;
const PIDFD_GETFD = 438n;
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
const LOCK_EX_NB = 2 | 4;
const PR_SET_PTRACER = 0x59616d61;
const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;
const F_SETFD = 2;
const FD_CLOEXEC = 1;
const O_CLOEXEC = 0o2000000;
const POLLERR = 8;
const POLLHUP = 16;
/** mallopt's names. Without them glibc keeps up to twice its largest freed block, in each of up to eight heaps a core. */
const M_TRIM_THRESHOLD = -1;
const M_MMAP_THRESHOLD = -3;
const M_ARENA_MAX = -8;
const LEAST_MAPPED_BYTES = 64 * 1024;
const MOST_KEPT_BYTES = 128 * 1024;
const HEAPS = 2;

function load(): Kernel | undefined {
  if (process.platform !== "linux" || process.env["SKEIN_WITHOUT_FFI"] === "1") return undefined;
  const ffi = process.getBuiltinModule("node:ffi");
  if (ffi === undefined) return undefined;
  const int = "int32";
  const long = "int64";
  const libc = new ffi.DynamicLibrary(null).getFunctions({
    listen: { arguments: [int, int], return: int },
    socket: { arguments: [int, int, int], return: int },
    bind: { arguments: [int, "pointer", int], return: int },
    close: { arguments: [int], return: int },
    flock: { arguments: [int, int], return: int },
    prctl: { arguments: [int, long, long, long, long], return: int },
    fcntl: { arguments: [int, int, int], return: int },
    syscall: { arguments: [long, long, long, long, long], return: long },
    __errno_location: { arguments: [], return: "pointer" },
  });
  const errno = (): number => ffi.getInt32(libc.__errno_location());
  const fail = (what: string, no: number): never => {
    if (no === 98) throw new SkeinError("PORT_TAKEN", `${what}: address already in use`);
    throw new SkeinError("IO", `${what}: errno ${no}`, { data: { errno: no } });
  };
  return {
    listen(fd, backlog) {
      if (libc.listen(fd, backlog) !== 0) fail("listen", errno());
    },
    setBlocking(fd) {
      libc.fcntl(fd, F_SETFL, libc.fcntl(fd, F_GETFL, 0) & ~O_NONBLOCK);
    },
    udp(host, port) {
      const address = socketAddress(host, port);
      const fd = libc.socket(address.readUInt16LE(0), SOCK_DGRAM_CLOEXEC, 0);
      if (fd < 0) fail("socket", errno());
      if (libc.bind(fd, ffi.getRawPointer(address), address.length) !== 0) {
        const no = errno();
        libc.close(fd);
        fail(`udp ${hostPortText({ host, port })}`, no);
      }
      return fd;
    },
    lockFile: (fd) => libc.flock(fd, LOCK_EX_NB) === 0,
    allowCopies() {
      libc.prctl(PR_SET_PTRACER, -1n, 0n, 0n, 0n); // fails where there is no Yama, which is as good
    },
    keepStrays() {
      for (const fd of strays()) libc.fcntl(fd, F_SETFD, FD_CLOEXEC);
    },
    takeFd(pid, fd) {
      const handle = libc.syscall(PIDFD_OPEN, BigInt(pid), 0n, 0n, 0n);
      if (handle < 0n) fail(`pidfd_open ${pid}`, errno());
      const copy = Number(libc.syscall(PIDFD_GETFD, handle, BigInt(fd), 0n, 0n));
      const no = errno();
      libc.close(Number(handle));
      if (copy < 0) fail(`pidfd_getfd ${pid} ${fd}`, no);
      return copy;
    },
    isReaderGone,
    returnMemory,
  };
}

/** All that Node opens is closed on exec; what came over an exec is not. Node sees to the lowest of these alone. */
function strays(): number[] {
  const fds = fs.readdirSync("/proc/self/fdinfo").map(Number);
  return fds.filter((fd) => fd > 2 && !isClosedOnExec(fd));
}

function isClosedOnExec(fd: number): boolean {
  try {
    const [, flags = "0"] =
      /^flags:\s*([0-7]+)/m.exec(fs.readFileSync(`/proc/self/fdinfo/${fd}`, "utf8")) ?? [];
    return (Number.parseInt(flags, 8) & O_CLOEXEC) !== 0;
  } catch {
    return true; // the one that the folder was read by
  }
}

function isReaderGone(fd: number): boolean {
  const ffi = process.getBuiltinModule("node:ffi");
  const { poll } = new ffi.DynamicLibrary(null).getFunctions({
    poll: { arguments: ["pointer", "int64", "int32"], return: "int32" },
  });
  // struct pollfd: nothing is asked for, as an end is told unasked.
  const polled = Buffer.alloc(8);
  polled.writeInt32LE(fd, 0);
  poll(ffi.getRawPointer(polled), 1n, 0);
  return (polled.readInt16LE(6) & (POLLERR | POLLHUP)) !== 0;
}

function returnMemory(): void {
  const ffi = process.getBuiltinModule("node:ffi");
  const settings = [
    [M_MMAP_THRESHOLD, LEAST_MAPPED_BYTES],
    [M_TRIM_THRESHOLD, MOST_KEPT_BYTES],
    [M_ARENA_MAX, HEAPS],
  ] as const;
  try {
    const { mallopt } = new ffi.DynamicLibrary(null).getFunctions({
      mallopt: { arguments: ["int32", "int32"], return: "int32" },
    });
    for (const [name, value] of settings) mallopt(name, value);
  } catch {
    // Another C library than glibc.
  }
}

let loaded: { readonly kernel: Kernel | undefined } | undefined;

/** The kernel's calls, or undefined where they cannot be made. */
export function kernel(): Kernel | undefined {
  loaded ??= { kernel: loadQuietly() };
  return loaded.kernel;
}

/** `node:ffi` warns that it is experimental; that is ours to know, not the user's. */
function loadQuietly(): Kernel | undefined {
  const emitWarning = process.emitWarning.bind(process);
  process.emitWarning = () => undefined;
  try {
    return load();
  } catch {
    return undefined;
  } finally {
    process.emitWarning = emitWarning;
  }
}

/** struct sockaddr_in or sockaddr_in6. */
function socketAddress(host: string, port: number): Buffer {
  if (!host.includes(":")) {
    const address = Buffer.alloc(16);
    address.writeUInt16LE(AF_INET, 0);
    address.writeUInt16BE(port, 2);
    address.set(host.split(".").map(Number), 4);
    return address;
  }
  const address = Buffer.alloc(28);
  address.writeUInt16LE(AF_INET6, 0);
  address.writeUInt16BE(port, 2);
  address.set(ipv6Bytes(host), 8);
  return address;
}

function ipv6Bytes(host: string): Uint8Array {
  const [head = "", tail] = host.split("::");
  const groups = (text: string): number[] => (text === "" ? [] : text.split(":").map((g) => parseInt(g, 16)));
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  const middle = Array.from({ length: Math.max(0, 8 - before.length - after.length) }, () => 0);
  return new Uint8Array([...before, ...middle, ...after].flatMap((g) => [g >> 8, g & 255]));
}
