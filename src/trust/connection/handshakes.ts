/** Connections that are no TLS yet. */
import type https from "node:https";
import type net from "node:net";
import { Strangers, type StrangerLimits } from "./strangers.ts";
import { HANDSHAKE_MS } from "./tls.ts";

/**
 * Bounds those of which no handshake has ended, before it is known whether one will: they cost whoever opens them
 * nothing, and a server takes no more connections than it takes in all.
 */
export function boundHandshakes(
  server: Pick<https.Server, "on">,
  limits: Omit<StrangerLimits, "graceMs">,
): void {
  const strangers = new Strangers({ ...limits, graceMs: 2 * HANDSHAKE_MS });
  /** What a TLS connection is made of is known only by where it comes from and goes to. */
  const begun = new Map<string, net.Socket>();
  server.on("connection", (socket: net.Socket) => {
    const ends = endsOf(socket);
    begun.set(ends, socket);
    strangers.came(socket, socket.remoteAddress ?? "");
    socket.once("close", () => begun.get(ends) === socket && begun.delete(ends));
  });
  server.on("secureConnection", (secure) => {
    const socket = begun.get(endsOf(secure));
    if (socket !== undefined) strangers.known(socket);
  });
}

const endsOf = ({ remoteAddress, remotePort, localAddress }: net.Socket): string =>
  `${remoteAddress} ${remotePort} ${localAddress}`;
