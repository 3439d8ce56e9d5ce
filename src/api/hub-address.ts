import { SkeinError } from "../lib/errors/errors.ts";

/** Where a hub is and which key it must hold. */
export interface HubAddress {
  readonly spki: string;
  /** `host:port`; IPv6 in brackets. */
  readonly address: string;
}

/** The hubs that a charter lists, each as often as it has addresses. */
export const listedHubs = ({
  hubs,
}: {
  readonly hubs: Readonly<Record<string, readonly string[]>>;
}): HubAddress[] =>
  Object.entries(hubs).flatMap(([spki, addresses]) => addresses.map((address) => ({ spki, address })));

/** Where git is spoken, after an upgrade of the connection. */
export const GIT_ROUTE = "/v1/git/:repo/:service";

/** `host:port`, `[v6]:port`. @throws SkeinError USAGE */
export function splitAddress(address: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:\s]+)):(\d{1,5})$/.exec(address);
  const [, v6, name, port] = match ?? [];
  const host = v6 ?? name;
  if (host === undefined || Number(port) > 65_535) {
    throw new SkeinError("USAGE", `'${address}' is not host:port`, { data: { address } });
  }
  return { host, port: Number(port) };
}
