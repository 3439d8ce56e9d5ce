/** Where hubs and nodes of this machine are told to be, and what their sockets bind to. */
import { lookup } from "node:dns/promises";
import net from "node:net";
import os from "node:os";
import { errnoOf } from "../../lib/errors/errors.ts";
import type { Charter } from "../../trust/document/documents.ts";
import { hostPort, usage, type HostPort } from "../command/grammar.ts";
import type { AgentFlags } from "./server-flags.ts";

export const DEFAULT_PORT = 7400;
export const LOOPBACK = "127.0.0.1";
const NAME = /^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/i;

/** All addresses of a machine that is reached at `host`; where that is IPv6, those of both kinds. */
export const everywhere = (host: string): string => (net.isIPv6(host) ? "::" : "0.0.0.0");

const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "::1" || host.startsWith("127.");

export const listedFor = (charter: Charter | undefined, spki: string): readonly string[] =>
  Object.entries(charter?.hubs ?? {}).find(([key]) => key === spki)?.[1] ?? [];

/** Where the charter says that the hub of this key is; where it says nothing, on `host`. */
export function listedPlace(charter: Charter | undefined, spki: string, host: string): HostPort {
  const [own] = listedFor(charter, spki);
  if (own === undefined) return { host, port: DEFAULT_PORT };
  const listed = hostPort(own, host);
  // A name, or an address behind NAT, cannot be bound: only a loopback one is taken as it is.
  if (isLoopback(listed.host)) return listed;
  const reached = net.isIP(listed.host) === 0 ? addressHere()() : listed.host;
  return { host: everywhere(reached), port: listed.port };
}

/**
 * What others are told, and what sockets bind to.
 * @param fallback undefined: told is what the machine has, as it changes
 * @throws SkeinError USAGE
 */
export function addresses(
  flags: Pick<AgentFlags, "address" | "bind">,
  fallback?: string,
  interfaces = os.networkInterfaces,
): { readonly address: () => string; readonly bind: string } {
  const bind = flags.bind === undefined ? undefined : hostFlag("--bind", flags.bind);
  const told = flags.address === undefined ? undefined : hostFlag("--address", flags.address);
  const said = told ?? (isOneAddress(bind) ? bind : fallback);
  const address = said === undefined ? addressHere(interfaces) : () => said;
  const first = address();
  const isOnlyHere = said !== undefined && isLoopback(said);
  return { address, bind: bind ?? (isOnlyHere ? said : everywhere(first)) };
}

/**
 * Of a machine that is all of the cluster: a name that leads nowhere here leads nowhere. While no resolver answers,
 * nothing is said of it.
 * @throws SkeinError USAGE
 */
export async function refuseNowhere({ address, bind }: Pick<AgentFlags, "address" | "bind">): Promise<void> {
  for (const [flag, host] of Object.entries({ "--address": address, "--bind": bind })) {
    if (host === undefined || net.isIP(hostFlag(flag, host)) !== 0) continue;
    await lookup(host).catch((err: unknown) => {
      if (errnoOf(err) !== "ENOTFOUND") return;
      throw usage(
        `${flag} ${host} is a name that this machine does not know`,
        `Its address will do: ${flag} ${LOOPBACK}.`,
      );
    });
  }
}

/** A machine's name or IP address, without a port: `10.0.0.1`, `fd00:5::1` (or in brackets), `web1.example.com`. */
function hostFlag(flag: string, text: string): string {
  const host = text.replace(/^\[(.*)\]$/, "$1");
  if (net.isIP(host) !== 0 && !host.includes("%")) return host;
  if (NAME.test(text) && text.length <= 253) return text;
  throw usage(
    `${flag} ${text} is neither an address nor a name`,
    `Without a port: ${flag} 10.0.0.1, fd00:5::1 or web1.example.com.`,
  );
}

/** Who binds to one address cannot be reached at another. */
const isOneAddress = (bind: string | undefined): bind is string =>
  bind !== undefined && bind !== "0.0.0.0" && bind !== "::";

/**
 * The machine's first one, of IPv6 where it has no other, looked up anew each time; while it has none, the last that it
 * had.
 */
export function addressHere(interfaces = os.networkInterfaces): () => string {
  let last = LOOPBACK;
  return () => {
    const outer = Object.values(interfaces()).flatMap((list) => (list ?? []).filter((one) => !one.internal));
    const v4 = outer.find(({ family }) => family === "IPv4");
    // One with a scope is of one link alone.
    const v6 = outer.find((one) => one.family === "IPv6" && one.scopeid === 0);
    last = (v4 ?? v6)?.address ?? last;
    return last;
  };
}
