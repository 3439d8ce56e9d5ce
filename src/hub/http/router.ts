/** From a request to its route: found, authorised, read; then the handler's answer is sent. */
import type http from "node:http";
import type { z } from "zod";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import type { Route } from "../../api/route.ts";
import { PATH_PARAMS, ROUTES, type RouteName } from "../../api/routes.ts";
import type { Caller } from "./caller.ts";
import { OpenCalls } from "./open-calls.ts";
import { answerJson, checked, readJson, sendError, sendLines, type Held, type JsonBody } from "./http.ts";

const MAX_BODY = 2 * 2 ** 20;
const NO_BODY: JsonBody = { value: undefined, text: Buffer.alloc(0) };

/** What a handler is given. Parameters, query and body are held to the route's schemas before. */
export interface Call<N extends RouteName = RouteName> {
  readonly caller: Caller;
  readonly params: Readonly<Record<string, string>>;
  readonly query: QueryOf<N>;
  readonly body: BodyOf<N>;
  /** The body as JSON. */
  readonly text: Buffer;
  readonly req: http.IncomingMessage;
  readonly res: http.ServerResponse;
  /** Ends when the caller goes before it was answered, and with the hub. */
  readonly signal: AbortSignal;
}

type BodyOf<N extends RouteName> = (typeof ROUTES)[N] extends { readonly body: z.ZodType<infer T> }
  ? T
  : undefined;
type QueryOf<N extends RouteName> = (typeof ROUTES)[N] extends { readonly query: z.ZodType<infer T> }
  ? T
  : undefined;

/** JSON for routes with a response, an async iterable for those with lines; `undefined`: it has answered itself. */
export type Handlers = { readonly [N in RouteName]: (call: Call<N>) => Promise<unknown> };

export interface Found {
  readonly name: RouteName;
  readonly route: Route;
  readonly params: Readonly<Record<string, string>>;
}

export interface Admitted extends Found {
  readonly caller: Caller;
  readonly url: URL;
}

export interface RouterParts {
  readonly handlers: Handlers;
  /** @throws SkeinError UNKNOWN_CLIENT */
  readonly callerOf: (req: http.IncomingMessage) => Caller;
  /** What this caller may code its bodies after. */
  readonly held: (caller: Caller) => Held;
  /** @throws SkeinError TOO_MANY */
  readonly strangerCame: (req: http.IncomingMessage) => void;
  readonly failed: (req: http.IncomingMessage, err: unknown) => void;
  readonly signal: AbortSignal;
}

export function requestListener(parts: RouterParts): http.RequestListener {
  const calls = new OpenCalls(parts.signal);
  return (req, res) => {
    // Each answer to each of many nodes carries its head: what HTTP/1.1 does without is left out.
    res.sendDate = false;
    res.removeHeader("connection");
    answer(parts, calls, req, res).catch((err: unknown) => {
      if (!isSkeinError(err) && !res.destroyed) parts.failed(req, err);
      sendError(req, res, err);
    });
  };
}

async function answer(
  parts: RouterParts,
  calls: OpenCalls,
  req: http.IncomingMessage,
  res: http.ServerResponse,
): Promise<void> {
  const { name, route, params, caller, url } = admit(parts, req);
  let signal: AbortSignal | undefined;
  const body =
    route.body === undefined
      ? NO_BODY
      : await readJson(req, route.body, route.maxBody ?? MAX_BODY, parts.held(caller));
  const query = queryOf(route, url);
  // The schemas of this very route were applied above; TypeScript cannot follow that through the table.
  const handler = parts.handlers[name] as (call: unknown) => Promise<unknown>;
  const result = await handler({
    caller,
    params,
    query,
    body: body.value,
    text: body.text,
    req,
    res,
    get signal() {
      return (signal ??= calls.signalOf(res));
    },
  });
  if (result === undefined) return;
  if (route.lines === undefined) await answerJson(req, res, result);
  else await sendLines(res, result as AsyncIterable<unknown>);
}

/**
 * The one way in: finds the route and lets through only the roles that its row names.
 * @throws SkeinError BAD_REQUEST, NOT_FOUND, UNKNOWN_CLIENT, REVOKED, NOT_AUTHORISED, TOO_MANY
 */
export function admit(parts: RouterParts, req: http.IncomingMessage): Admitted {
  const caller = callerOf(parts, req);
  if (caller.role === "anonymous") parts.strangerCame(req);
  const url = urlOf(req.url);
  const found = findRoute(req.method ?? "", url.pathname);
  if (found === undefined) throw new SkeinError("NOT_FOUND", `there is no ${req.method} ${url.pathname}`);
  if (found.route.roles.includes(caller.role)) return { ...found, caller, url };
  if (caller.role !== "anonymous") {
    throw new SkeinError("NOT_AUTHORISED", `${found.name} is not for ${caller.role}s`, {
      data: { route: found.name },
    });
  }
  if (caller.revoked) throw new SkeinError("REVOKED", "this key was revoked");
  throw new SkeinError("UNKNOWN_CLIENT", "this key belongs to no node, and no session vouches for it");
}

/** @throws SkeinError BAD_REQUEST */
export function urlOf(url = "/"): URL {
  const found = url.startsWith("/") ? URL.parse(`http://hub${url}`) : null;
  if (found !== null) return found;
  throw new SkeinError("BAD_REQUEST", "the request asks for no path");
}

/** @throws SkeinError BAD_REQUEST where it is not of the route's schema */
export const queryOf = ({ query }: Route, { searchParams }: URL): Record<string, unknown> =>
  query === undefined
    ? {}
    : checked<Record<string, unknown>>(query, Object.fromEntries(searchParams), "the query");

/** A session that does not hold costs as much to look at as any stranger's request. */
function callerOf(parts: RouterParts, req: http.IncomingMessage): Caller {
  try {
    return parts.callerOf(req);
  } catch (err) {
    parts.strangerCame(req);
    throw err;
  }
}

/** @throws SkeinError BAD_REQUEST when a parameter is not of its form */
export function findRoute(method: string, path: string): Found | undefined {
  for (const { name, route, pattern, names } of TABLE) {
    if (route.method !== method) continue;
    const match = pattern.exec(path);
    if (match === null) continue;
    const params = Object.fromEntries(names.map((key, at) => [key, parameter(key, match[at + 1] ?? "")]));
    return { name, route, params };
  }
  return undefined;
}

function parameter(key: string, text: string): string {
  const known: Readonly<Record<string, (typeof PATH_PARAMS)[keyof typeof PATH_PARAMS]>> = PATH_PARAMS;
  let decoded: string;
  try {
    decoded = decodeURIComponent(text);
  } catch (err) {
    throw new SkeinError("BAD_REQUEST", "the path is badly encoded", { cause: err });
  }
  const schema = known[key];
  return schema === undefined ? decoded : checked<string>(schema, decoded, key);
}

const TABLE = Object.entries<Route>(ROUTES).map(([name, route]) => {
  const names = [...route.path.matchAll(/:(\w+)/g)].map(([, key]) => key ?? "");
  const source = route.path.replaceAll(/:\w+/g, "([^/]+)").replace(/\*$/, "(.+)");
  return {
    name: name as RouteName,
    route,
    pattern: new RegExp(`^${source}$`),
    names: route.path.endsWith("*") ? [...names, "blob"] : names,
  };
});
