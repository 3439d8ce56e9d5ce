/** One request: bounded body in, JSON, lines or an error out. Everything that is about HTTP and nothing else. */
import type http from "node:http";
import type { z } from "zod";
import { AFTER_HEADER, CODED, CODED_AFTER, decode, encode, type Shared } from "../../api/body-coding.ts";
import { drained } from "../../lib/async/drained.ts";
import { isSkeinError, SkeinError, toWire, type ErrorCode } from "../../lib/errors/errors.ts";
import { ERROR_CODES } from "../../lib/errors/error-codes.ts";

const HEARTBEAT_MS = 10_000;
/** A shorter body gains less than the header that names its coding. */
const WORTH_CODING_BYTES = 512;

/** Where a code's status does not follow from its exit code. */
const STATUS: Partial<Record<ErrorCode, number>> = {
  UNKNOWN_CLIENT: 401,
  REVOKED: 401,
  STORE_COMPACTED: 410,
  TOO_MANY: 429,
  HUB_CATCHING_UP: 503,
  DISK_FULL: 507,
  INTERNAL: 500,
  IO: 500,
  STORE_CLOSED: 503,
  STORE_CORRUPT: 500,
  BLOB_MISSING: 404,
  CONFLICT: 409,
  DOC_TOO_BIG: 413,
  NAME_TAKEN: 409,
  CODING_UNKNOWN: 415,
};
const STATUS_OF_EXIT: Readonly<Record<number, number>> = {
  1: 422,
  2: 400,
  3: 409,
  4: 403,
  5: 409,
  6: 409,
  7: 404,
  8: 503,
};

export function statusOf(err: unknown): number {
  if (!isSkeinError(err)) return 500;
  return STATUS[err.code] ?? STATUS_OF_EXIT[ERROR_CODES[err.code].exit] ?? 500;
}

/** Finds what a caller may code its bodies after, by its tag. */
export type Held = (tag: string) => Shared | undefined;

export interface JsonBody {
  readonly value: unknown;
  /** As it was before it was coded. */
  readonly text: Buffer;
}

/**
 * The body, parsed and held to its schema.
 * @throws SkeinError BAD_REQUEST, DOC_TOO_BIG, CODING_UNKNOWN
 */
export async function readJson(
  req: http.IncomingMessage,
  schema: z.ZodType,
  maxBytes: number,
  held: Held,
): Promise<JsonBody> {
  const body = await readBytes(req, maxBytes);
  const text = await decoded(req, body, maxBytes, held);
  let value: unknown;
  try {
    value = JSON.parse(text.toString("utf8"));
  } catch (err) {
    throw new SkeinError("BAD_REQUEST", "the body is not JSON", { cause: err });
  }
  return { value: checked(schema, value, "the body"), text };
}

/** @throws SkeinError BAD_REQUEST with the path of the first thing that is wrong */
export function checked<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue?.path.join(".") ?? "";
  throw new SkeinError(
    "BAD_REQUEST",
    `${what}: ${where === "" ? "" : `${where}: `}${issue?.message ?? "invalid"}`,
    {
      data: { path: where },
    },
  );
}

async function decoded(
  req: http.IncomingMessage,
  body: Buffer,
  maxBytes: number,
  held: Held,
): Promise<Buffer> {
  const coding = req.headers["content-encoding"];
  if (coding === undefined) return body;
  if (coding === CODED) return await decode(body, maxBytes);
  const tag = req.headers[AFTER_HEADER];
  const shared = coding === CODED_AFTER && typeof tag === "string" ? held(tag) : undefined;
  if (shared !== undefined) return await decode(body, maxBytes, shared);
  throw new SkeinError(
    "CODING_UNKNOWN",
    "the body is coded in a way or after an answer that is not known here",
    {
      data: { coding },
    },
  );
}

async function readBytes(req: http.IncomingMessage, maxBytes: number): Promise<Buffer> {
  const tooBig = (): SkeinError =>
    new SkeinError("DOC_TOO_BIG", `a body of more than ${maxBytes} bytes`, { data: { maxBytes } });
  if (Number(req.headers["content-length"] ?? 0) > maxBytes) throw tooBig();
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of req as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) throw tooBig();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** What the caller reads, of what is spoken here. */
export function acceptedCodings(req: http.IncomingMessage): ReadonlySet<string> {
  const named = (req.headers["accept-encoding"] ?? "").split(",");
  return new Set(named.map((name) => name.trim()).filter((name) => name === CODED || name === CODED_AFTER));
}

export function sendJson(
  res: http.ServerResponse,
  status: number,
  value: unknown,
  headers: Record<string, string> = {},
): void {
  sendBody(res, status, Buffer.from(JSON.stringify(value)), headers);
}

/** The same, shortened for a caller that reads that, where it is worth its while. */
export async function answerJson(
  req: http.IncomingMessage,
  res: http.ServerResponse,
  value: unknown,
): Promise<void> {
  await answerText(req, res, JSON.stringify(value));
}

/** The same of JSON that was made already. */
export async function answerText(
  req: http.IncomingMessage,
  res: http.ServerResponse,
  text: string,
): Promise<void> {
  const body = Buffer.from(text);
  if (body.length < WORTH_CODING_BYTES || !acceptedCodings(req).has(CODED)) return sendBody(res, 200, body);
  return sendBody(res, 200, await encode(body), { "content-encoding": CODED });
}

export function sendBody(
  res: http.ServerResponse,
  status: number,
  body: Buffer,
  headers: Record<string, string> = {},
): void {
  res.writeHead(status, { ...headers, "content-type": "application/json", "content-length": body.length });
  res.end(body);
}

/** An error as the answer, or as the cut of an answer that has begun. */
export function sendError(req: http.IncomingMessage, res: http.ServerResponse, err: unknown): void {
  if (res.headersSent) {
    res.destroy();
    return;
  }
  // A body that was not read to its end would be taken for the next request.
  const headers: Record<string, string> = req.complete ? {} : { connection: "close" };
  sendJson(res, statusOf(err), { error: toWire(err) }, headers);
}

/**
 * Lines of JSON as they come, with a blank one when nothing came for a while: also before the first line, for which
 * somebody may wait long. Ends with the connection. What fails before anything was sent is an ordinary error; later it
 * is the last line, `{"error": …}`.
 */
export async function sendLines(
  res: http.ServerResponse,
  lines: AsyncIterable<unknown>,
  heartbeatMs = HEARTBEAT_MS,
): Promise<void> {
  const iterator = lines[Symbol.asyncIterator]();
  const begin = (): void => {
    if (res.headersSent) return;
    res.writeHead(200, { "content-type": "application/x-ndjson" });
    res.flushHeaders();
  };
  const heartbeat = setInterval(() => {
    begin();
    if (!res.writableNeedDrain) res.write("\n");
  }, heartbeatMs);
  try {
    for (
      let next = await iterator.next();
      next.done !== true && !res.destroyed;
      next = await iterator.next()
    ) {
      begin();
      if (!res.write(`${JSON.stringify(next.value)}\n`)) await drained(res);
    }
    begin();
    res.end();
  } catch (err) {
    if (!res.headersSent) throw err;
    res.end(`${JSON.stringify({ error: toWire(err) })}\n`);
  } finally {
    clearInterval(heartbeat);
    await iterator.return?.();
  }
}
