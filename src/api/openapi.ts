/** The OpenAPI 3.1 document of the hub's API, made from the route table. Loaded only when it is asked for. */
import * as z from "zod";
import type { Route } from "./route.ts";
import { PATH_PARAMS, ROUTES } from "./routes.ts";
import { errorBody } from "./field-schemas.ts";

type Json = Readonly<Record<string, unknown>>;

/** By version. It takes 10 ms to make, and anybody may ask a hub for it. */
const MADE = new Map<string, Json>();

/** The document as plain data; `version` is Skein's. Written to docs/openapi.json by `npm run docs`. */
export function openApiDocument(version: string): Json {
  const made = MADE.get(version) ?? documentOf(version);
  MADE.set(version, made);
  return made;
}

function documentOf(version: string): Json {
  const paths: Record<string, Record<string, Json>> = {};
  for (const [name, route] of Object.entries<Route>(ROUTES)) {
    const path = route.path.replaceAll(/:(\w+)/g, "{$1}").replace("*", "{blob}");
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(name, route) };
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Skein hub",
      version,
      description:
        "HTTP/1.1 over TLS 1.3; both sides show a certificate whose key is pinned. A node is known by that key, " +
        "an operator by the header `skein-session` (base64url of the JSON of a session.1 envelope). " +
        "Bodies of JSON may be coded as `zstd`, answers for whoever accepts that. `skein`, for nodes alone, is zstd " +
        "of what docs/formats/packed-json.md makes of it, with a dictionary that both sides hold: the same of the JSON of an earlier answer to `wanted`, in its own order and " +
        "without `etag` and `lastReceipts`, and after it the JSON of the last report that the hub took from " +
        "the node since it answered in full. An answer is coded after the one that `if-none-match` names and leaves " +
        "the receipts out. A request names its dictionary by `skein-after: ETAG[.REPORT]`, REPORT being 8 digits of the " +
        "report's SHA-256; where the hub does not hold it (CODING_UNKNOWN), it is sent again uncoded. " +
        "An etag is the first 24 digits of that JSON's SHA-256.",
    },
    paths,
  };
}

function operation(name: string, route: Route): Json {
  return {
    operationId: name,
    summary: route.summary,
    description: `May be called by: ${route.roles.join(", ")}.`,
    parameters: [...pathParameters(route), ...queryParameters(route)],
    ...(route.body === undefined
      ? {}
      : { requestBody: { required: true, content: json(route.body, "input") } }),
    responses: {
      "200": { description: "Done", ...answer(route) },
      default: { description: "An error", content: json(errorBody, "output") },
    },
  };
}

function answer(route: Route): Json {
  if (route.response !== undefined) return { content: json(route.response, "output") };
  if (route.lines !== undefined)
    return { content: { "application/x-ndjson": { schema: schemaOf(route.lines, "output") } } };
  return { content: { "application/octet-stream": {} } };
}

function pathParameters(route: Route): Json[] {
  const names = [...route.path.matchAll(/:(\w+)/g)].map(([, name]) => name ?? "");
  const known: Readonly<Record<string, z.ZodType>> = PATH_PARAMS;
  const listed = names.map((name) => ({
    name,
    in: "path",
    required: true,
    schema: schemaOf(known[name] ?? z.string(), "input"),
  }));
  const rest = { name: "blob", in: "path", required: true, schema: { type: "string" } };
  return route.path.endsWith("*") ? [...listed, rest] : listed;
}

function queryParameters(route: Route): Json[] {
  return Object.entries(route.query?.shape ?? {}).map(([name, schema]) => ({
    name,
    in: "query",
    required: false,
    schema: schemaOf(schema as z.ZodType, "input"),
  }));
}

function json(schema: z.ZodType, io: "input" | "output"): Json {
  return { "application/json": { schema: schemaOf(schema, io) } };
}

function schemaOf(schema: z.ZodType, io: "input" | "output"): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: "any", reused: "inline" });
  return rest;
}
