import fs from "node:fs";
import net from "node:net";
import { errnoOf, messageOf, SkeinError } from "../lib/errors/errors.ts";
import { hostPortText } from "../lib/text/host-port.ts";
import { bindPath } from "./bind-path.ts";
import { kernel, type Kernel } from "./ffi.ts";
import type { SocketSpec, SocketView } from "./protocol.ts";
import { readOr, socketInode } from "./proc.ts";

interface Held {
  readonly view: SocketView;
  readonly close: () => void;
}

/** The sockets of this node: bound and listening here, accepted from by others. */
export class HeldSockets {
  readonly #held = new Map<string, Held>();

  views(): SocketView[] {
    return [...this.#held.values()].map((held) => held.view);
  }

  has(key: string): boolean {
    return this.#held.has(key);
  }

  /** @throws SkeinError NOT_FOUND */
  get(key: string): SocketView {
    const held = this.#held.get(key);
    if (held === undefined) throw new SkeinError("NOT_FOUND", `the keeper holds no socket ${key}`);
    return held.view;
  }

  /**
   * Binds and listens at once: a port that is only bound can be listened on by another program.
   * @throws SkeinError PORT_TAKEN, HANDOVER_REFUSED
   */
  listen(spec: SocketSpec): SocketView {
    const held = this.#held.get(spec.key);
    if (held !== undefined) {
      if (sameAddress(held.view, spec)) return held.view;
      throw new SkeinError("CONFLICT", `socket ${spec.key} is held at another address`);
    }
    const calls = kernel();
    if (calls === undefined) {
      throw new SkeinError("HANDOVER_REFUSED", "sockets cannot be held for an app on this machine", {
        hint: "Use handover: port or gap.",
        data: { modes: ["port", "gap"] },
      });
    }
    const made = spec.protocol === "udp" ? openUdp(spec, calls) : openStream(spec, calls);
    this.#held.set(spec.key, made);
    return made.view;
  }

  /** Holds a descriptor that was copied out of a process which had it from an earlier keeper. */
  adopt(view: SocketView, fd: number): void {
    const close = (): void => {
      fs.closeSync(fd);
      if (view.path !== null) fs.rmSync(view.path, { force: true });
    };
    this.#held.set(view.key, { view: { ...view, fd }, close });
  }

  /** As it was made. What a server has set on its descriptor (not to block) is set for all who hold the socket. */
  restore(key: string): void {
    kernel()?.setBlocking(this.get(key).fd);
    this.restoreQueue(key);
  }

  /** A server that listens on what it was passed gives it a queue of a length of its own: 511 with Node. */
  restoreQueue(key: string): void {
    const view = this.#held.get(key)?.view;
    if (view !== undefined && view.protocol !== "udp") kernel()?.listen(view.fd, view.backlog);
  }

  close(key: string): void {
    this.#held.get(key)?.close();
    this.#held.delete(key);
  }
}

function sameAddress(a: SocketView, b: SocketSpec): boolean {
  if (a.protocol !== b.protocol || a.path !== b.path) return false;
  return a.protocol === "unix" || (a.host === b.host && (b.port === 0 || a.port === b.port));
}

function openStream(spec: SocketSpec, calls: Kernel): Held {
  const bound = bind(spec);
  const fd = bound.fd();
  try {
    calls.listen(fd, spec.backlog);
    calls.setBlocking(fd);
    if (spec.path !== null) openToClients(spec.path);
  } catch (err) {
    bound.close();
    throw err;
  }
  const address = bound.address();
  const port = typeof address === "object" && "port" in address ? address.port : 0;
  return { view: viewOf(spec, fd, port), close: () => bound.close() };
}

function bind(spec: SocketSpec): net.BoundSocket {
  try {
    if (spec.path === null) return new net.BoundSocket({ host: spec.host, port: spec.port });
    fs.rmSync(spec.path, { force: true });
    return bindPath(spec.path);
  } catch (err) {
    const where = spec.path ?? hostPortText(spec);
    const errno = errnoOf(err);
    const data = { address: where, errno };
    if (errno === "EADDRINUSE") {
      throw new SkeinError("PORT_TAKEN", `another program listens on ${where}`, { cause: err, data });
    }
    const why =
      errno === "EACCES" && spec.path === null && spec.port < 1024
        ? " (ports below 1024 take an agent that runs as root)"
        : "";
    throw new SkeinError("IO", `cannot bind ${where}: ${messageOf(err)}${why}`, { cause: err, data });
  }
}

/** Whoever may enter the folder may connect; connecting needs the right to write. */
function openToClients(path: string): void {
  fs.chmodSync(path, 0o666);
}

function openUdp(spec: SocketSpec, calls: Kernel): Held {
  const fd = calls.udp(spec.host, spec.port);
  const view = viewOf(spec, fd, spec.port);
  return { view: { ...view, port: udpPort(view.inode) ?? spec.port }, close: () => fs.closeSync(fd) };
}

function udpPort(inode: number): number | undefined {
  for (const table of ["udp", "udp6"]) {
    for (const line of readOr(`/proc/self/net/${table}`, "").split("\n")) {
      const columns = line.trim().split(/\s+/);
      const local = columns[1];
      if (columns[9] === String(inode) && local !== undefined) {
        return parseInt(local.slice(local.lastIndexOf(":") + 1), 16);
      }
    }
  }
  return undefined;
}

function viewOf(spec: SocketSpec, fd: number, port: number): SocketView {
  return { ...spec, port, fd, inode: socketInode(`/proc/self/fd/${fd}`) ?? 0 };
}
