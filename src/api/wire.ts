/** How the client's calls look on the wire. */
import type { IncomingMessage } from "node:http";
import { SkeinError } from "../lib/errors.ts";
import type { Envelope } from "../trust/envelope.ts";
import { jsonOf } from "../trust/http-client.ts";
import { ROUTES, type RouteName } from "./routes.ts";

export type Query = Readonly<Record<string, string | number | undefined>>;

/** The value of the header `skein-session`. */
export function sessionHeader(session: Envelope): string {
  return Buffer.from(JSON.stringify(session)).toString("base64url");
}

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

/** A route's path with its parameters and query filled in. */
export function pathOf(name: RouteName, params: Readonly<Record<string, string>>, query: Query): string {
  const path = ROUTES[name].path.replaceAll(/:(\w+)/g, (_, key: string) =>
    encodeURIComponent(params[key] ?? ""),
  );
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value !== undefined) search.set(key, String(value));
  return search.size === 0 ? path : `${path}?${search.toString()}`;
}

/** The parsed body; HUB_UNREACHABLE when it was cut. */
export async function bodyOf(response: IncomingMessage, name: string): Promise<unknown> {
  try {
    return await jsonOf(response);
  } catch (err) {
    throw cutOff(name, err);
  }
}

export function cutOff(name: string, cause: unknown): SkeinError {
  return new SkeinError("HUB_UNREACHABLE", `${name}: the answer was cut off`, { cause });
}

export function isStream(body: unknown): body is AsyncIterable<Uint8Array> {
  return typeof body === "object" && body !== null && Symbol.asyncIterator in body;
}
