import { once } from "node:events";
import type net from "node:net";
import { errnoOf, SkeinError } from "../errors/errors.ts";
import { hostPortText } from "../text/host-port.ts";

/**
 * Resolves when the server listens.
 * @param what who listens, for the message
 * @param at `fd`: the socket is open already
 * @throws SkeinError PORT_TAKEN, IO
 */
export async function listening(
  what: string,
  server: net.Server,
  at: { readonly host: string; readonly port: number; readonly fd?: number },
): Promise<void> {
  if (at.fd === undefined) server.listen(at.port, at.host);
  else server.listen({ fd: at.fd });
  try {
    await once(server, "listening");
  } catch (err) {
    const errno = errnoOf(err);
    throw new SkeinError(
      errno === "EADDRINUSE" ? "PORT_TAKEN" : "IO",
      `${what} cannot listen on ${hostPortText(at)}: ${errno ?? "refused"}`,
      { cause: err, ...(errno === "EADDRNOTAVAIL" ? NO_ADDRESS : {}) },
    );
  }
}

const NO_ADDRESS = { hint: "This machine has no such address, or not yet: ip address shows what it has." };
