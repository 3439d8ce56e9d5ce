import net from "node:net";

/** A bound unix socket; a path that begins with NUL is abstract: it has no file and ends with its holder. */
export function bindPath(path: string): net.BoundSocket {
  return new net.BoundSocket({ path } as net.BoundSocketOptions);
}
