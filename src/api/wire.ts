/** How the client's calls look on the wire. */
import type { IncomingMessage } from "node:http";
import { SkeinError } from "../lib/errors/errors.ts";
import { bytesOf, jsonOf, type RequestOptions } from "../trust/connection/http-client.ts";
import { ALONG_HEADER, withoutAlong, type AlongBlob } from "./along-blob.ts";
import { CODED, contentIn, decode, type Content, type Shared } from "./body-coding.ts";
import type { Route } from "./route.ts";
import { ROUTES, type RouteName } from "./routes.ts";

export type Query = Readonly<Record<string, string | number | undefined>>;

/** A route's path with its parameters and query filled in. */
export function pathOf(name: RouteName, params: Readonly<Record<string, string>>, query: Query): string {
  const path = ROUTES[name].path
    .replaceAll(/:(\w+)/g, (_, key: string) => encodeURIComponent(params[key] ?? ""))
    .replace(/\*$/, () => params["blob"] ?? "");
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value !== undefined) search.set(key, String(value));
  return search.size === 0 ? path : `${path}?${search.toString()}`;
}

/** Largest body that an answer may inflate to. */
const MAX_BODY_BYTES = 128 * 2 ** 20;

/** The parsed body; HUB_UNREACHABLE when it was cut or is not what it says. */
export async function bodyOf(response: IncomingMessage, name: string): Promise<unknown> {
  const coding = response.headers["content-encoding"];
  try {
    if (coding === undefined) return await jsonOf(response);
    if (coding !== CODED) throw new Error(`coded as ${coding}`);
    const text = await decode(await bytesOf(response), MAX_BODY_BYTES);
    return JSON.parse(text.toString("utf8")) as unknown;
  } catch (err) {
    response.destroy();
    throw cutOff(name, err);
  }
}

/**
 * The parsed body of an answer to `wanted` that is coded after one of these, its content, and what came along.
 * @throws SkeinError HUB_UNREACHABLE where it is coded after none of them
 */
export async function bodyAfter(
  response: IncomingMessage,
  name: string,
  candidates: readonly Shared[],
): Promise<{
  readonly body: unknown;
  readonly content: Content;
  readonly along: AlongBlob | undefined;
}> {
  try {
    const { body: coded, along } = withoutAlong(await bytesOf(response), response.headers[ALONG_HEADER]);
    for (const shared of candidates) {
      const body = await decode(coded, MAX_BODY_BYTES, shared)
        .then((text) => JSON.parse(text.toString("utf8")) as unknown)
        .catch(() => undefined);
      // Coded after something else it says nothing, or what its etag does not stand for.
      const content = contentIn(body);
      if (content !== undefined) return { body, content, along };
    }
    throw new Error("coded after what is not known here");
  } catch (err) {
    throw cutOff(name, err);
  }
}

export function cutOff(name: string, cause: unknown): SkeinError {
  return new SkeinError("HUB_UNREACHABLE", `${name}: the answer was cut off`, { cause });
}

/** A call's body, and what its headers say of it and of the answer that is read. */
export function payloadOf(
  name: RouteName,
  given: unknown,
): { readonly body: RequestOptions["body"]; readonly headers: Readonly<Record<string, string>> } {
  const route: Route = ROUTES[name];
  const reads = route.response === undefined ? {} : { "accept-encoding": CODED };
  if (given === undefined) return { body: undefined, headers: reads };
  if (isStream(given)) return { body: given, headers: { ...reads, "content-type": "application/x-ndjson" } };
  // A report, made ready by the conversation: what it is goes without saying, and its answer is too short to code.
  if (given instanceof Uint8Array) return { body: given, headers: {} };
  return { body: JSON.stringify(given), headers: { ...reads, "content-type": "application/json" } };
}

function isStream(body: unknown): body is AsyncIterable<Uint8Array> {
  return typeof body === "object" && body !== null && Symbol.asyncIterator in body;
}
