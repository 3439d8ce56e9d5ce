import { hostPortText } from "../../lib/text/host-port.ts";
import type { Listen, Protocol } from "../../app/manifest.ts";
import { addressVariable } from "../../app/socket-variables.ts";

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
function addressText(address: Pick<SocketAddress, "host" | "port" | "path">): string {
  if (address.path !== null) return address.path;
  return hostPortText(address);
}

/** Where a socket bound to `bind` is reached from this machine. */
export function reachable(bind: string): string {
  if (bind === "0.0.0.0") return "127.0.0.1";
  if (bind === "::") return "::1";
  return bind;
}

interface Reached extends Pick<SocketAddress, "name" | "host" | "port" | "path"> {
  /** Where there are several. */
  readonly process?: string;
}

/**
 * Where instances are reached: `SKEIN_ADDRESS_HTTP` and the like, and `SKEIN_ADDRESS_WEB_HTTP` where two processes have
 * sockets of one name. Of several that have one variable the first counts.
 */
export function addressVariables(addresses: Iterable<Reached>): Record<string, string> {
  const found: Record<string, string> = {};
  for (const { name, process, ...address } of addresses) {
    found[addressVariable(name)] ??= addressText(address);
    if (process !== undefined) found[addressVariable(name, process)] ??= addressText(address);
  }
  return found;
}

/** The kind of socket that the keeper opens for a protocol. */
export function transportOf(listen: Pick<Listen, "protocol">): "tcp" | "udp" | "unix" {
  return listen.protocol === "udp" || listen.protocol === "unix" ? listen.protocol : "tcp";
}
