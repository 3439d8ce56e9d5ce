import net from "node:net";
import type { Listen, Protocol } from "../../app/manifest.ts";

/** Where one socket of one instance is reached. */
export interface SocketAddress {
  readonly name: string;
  readonly protocol: Protocol;
  readonly host: string;
  /** 0 for unix. */
  readonly port: number;
  readonly path: string | null;
}

/** `host:port` with IPv6 in brackets, or the path. */
export function addressText(address: Pick<SocketAddress, "host" | "port" | "path">): string {
  if (address.path !== null) return address.path;
  return `${net.isIPv6(address.host) ? `[${address.host}]` : address.host}:${address.port}`;
}

/** Where a socket bound to `bind` is reached from this machine. */
export function reachable(bind: string): string {
  if (bind === "0.0.0.0") return "127.0.0.1";
  if (bind === "::") return "::1";
  return bind;
}

/** The upper-case form that stands in names of environment variables. */
export function variableName(socket: string): string {
  return socket.toUpperCase().replaceAll(/[^A-Z0-9]/g, "_");
}

/** `SKEIN_ADDRESS_HTTP` and the like: where the judged instance is. */
export function addressVariables(addresses: readonly SocketAddress[]): Record<string, string> {
  return Object.fromEntries(
    addresses.map((address) => [`SKEIN_ADDRESS_${variableName(address.name)}`, addressText(address)]),
  );
}

/** The kind of socket that the keeper opens for a protocol. */
export function transportOf(listen: Pick<Listen, "protocol">): "tcp" | "udp" | "unix" {
  return listen.protocol === "udp" || listen.protocol === "unix" ? listen.protocol : "tcp";
}
