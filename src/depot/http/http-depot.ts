/**
 * A hub's depot over its API. Uploads and downloads that are cut go on from where they were; the bytes are checked by
 * whoever asked for them, since a hub is trusted with nothing.
 */
import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { systemClock, type Clock } from "../../lib/time/clock.ts";
import { countIn } from "../../lib/text/count-in.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { retryDelayMs } from "../../lib/time/retry.ts";
import { type RequestOptions, jsonOf } from "../../trust/connection/http-client.ts";
import { untilHeard } from "../../trust/connection/until-heard.ts";
import { checkBlobName } from "../seam/blob-name.ts";
import { ListBound } from "../seam/list-bound.ts";
import { PACE, paced, PROGRESS_BYTES, type Pace } from "../seam/pace.ts";
import type { BlobSource, ByteRange, Depot } from "../seam/depot.ts";

/** What of the hub's client a depot needs. */
export interface BlobTransport {
  readonly name: string;
  /** @throws the SkeinError that the answer carries */
  raw(request: RequestOptions): Promise<IncomingMessage>;
  /** The answer to a GET of this path, where it came with others. */
  told?(path: string): Promise<{ readonly body: unknown } | undefined>;
}

export interface HttpDepotOptions {
  readonly clock?: Clock;
  readonly random?: () => number;
  /** Tries without any progress before a transfer is given up. Default 6. */
  readonly tries?: number;
  /** From a request to the head of its answer, in ms. Default 30 000. */
  readonly answerMs?: number;
  /** Slowest download that is borne with. */
  readonly pace?: Pace;
}

const DEFAULTS: Required<HttpDepotOptions> = {
  clock: systemClock,
  random: Math.random,
  tries: 6,
  answerMs: 30_000,
  pace: PACE,
};
const BACKOFF = { baseMs: 100, maxMs: 5000 } as const;
const NAMES_AT_ONCE = 5000;
/** How a listing begins; whoever asks for it beside other things asks for this. */
export const firstPage = (
  prefix: string,
): { readonly prefix: string; readonly after: string; readonly limit: number } => ({
  prefix,
  after: "",
  limit: 1000,
});
/** From this size on it is worth a question whether a part is there from a time before. */
const ASK_FROM_BYTES = 256 * 1024;

export function httpDepot(transport: BlobTransport, options: HttpDepotOptions = {}): Depot {
  const patience = { ...DEFAULTS, ...options };
  return {
    kind: "hub",
    get name() {
      return transport.name;
    },
    has: async (names, signal) => await has(transport, patience, names, signal),
    get: (name, signal, range) => get(transport, patience, name, signal, range),
    list: (prefix, signal) => list(transport, patience, prefix, signal),
    put: async (name, blob, signal) => {
      checkBlobName(name);
      await put(transport, patience, name, blob, signal);
    },
    delete: async (name, signal) => {
      checkBlobName(name);
      const response = await transport.raw({ method: "DELETE", path: blobPath(name), signal });
      response.resume();
    },
  };
}

type Patience = Required<HttpDepotOptions>;

async function has(
  transport: BlobTransport,
  { clock }: Patience,
  names: readonly string[],
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  for (const name of names) checkBlobName(name);
  for (let at = 0; at < names.length; at += NAMES_AT_ONCE) {
    const body = JSON.stringify({ names: names.slice(at, at + NAMES_AT_ONCE) });
    const headers = { "content-type": "application/json" };
    const request = { method: "POST", path: "/v1/depot/has", headers, body, signal };
    const ask = async (): Promise<unknown> => await jsonOf(await transport.raw(request));
    const { have } = (await untilHeard(ask, { clock, signal })) as { have: string[] };
    for (const name of have) found.add(name);
  }
  return found;
}

async function* list(
  transport: BlobTransport,
  { clock }: Patience,
  prefix: string,
  signal: AbortSignal,
): AsyncGenerator<string, void> {
  const bound = new ListBound(transport.name);
  for (let after: string | null = ""; after !== null;) {
    const { limit } = firstPage(prefix);
    const query = { prefix, after, ...(after === "" ? { limit: String(limit) } : {}) };
    const path = `/v1/depot/list?${new URLSearchParams(query).toString()}`;
    const ask = async (): Promise<unknown> => {
      const told = await transport.told?.(path);
      return told?.body ?? (await jsonOf(await transport.raw({ method: "GET", path, signal })));
    };
    const page = (await untilHeard(ask, { clock, signal })) as Page;
    bound.page(page.names.length);
    yield* page.names;
    after = page.next;
  }
}

interface Page {
  readonly names: readonly string[];
  readonly next: string | null;
}

async function* get(
  transport: BlobTransport,
  patience: Patience,
  name: string,
  signal: AbortSignal,
  range: ByteRange | undefined,
): AsyncGenerator<Uint8Array, void> {
  checkBlobName(name);
  let at = range?.start ?? 0;
  let failedAt = at;
  for (let failures = 0; at < (range?.end ?? Infinity);) {
    try {
      for await (const piece of download(transport, patience, name, signal, { ...range, start: at })) {
        at += piece.length;
        yield piece;
      }
      return;
    } catch (err) {
      failures = at - failedAt >= PROGRESS_BYTES ? 1 : failures + 1;
      failedAt = at;
      await passing(err, failures, patience, signal);
    }
  }
}

async function* download(
  transport: BlobTransport,
  { answerMs, pace }: Patience,
  name: string,
  signal: AbortSignal,
  { start, end }: ByteRange,
): AsyncGenerator<Uint8Array, void> {
  const whole = start === 0 && end === undefined;
  const headers: Record<string, string> = whole
    ? {}
    : { range: `bytes=${start}-${end === undefined ? "" : end - 1}` };
  const request = { method: "GET", path: blobPath(name), headers, timeoutMs: answerMs, signal };
  const response = await transport.raw(request);
  const tooSlow = (): Error =>
    new SkeinError("HUB_UNREACHABLE", `${transport.name}: ${name} came too slowly`);
  try {
    yield* paced(response, pace, tooSlow);
  } catch (err) {
    signal.throwIfAborted();
    if (isSkeinError(err)) throw err;
    throw new SkeinError("HUB_UNREACHABLE", `${transport.name}: ${name} was cut off`, { cause: err });
  }
}

async function put(
  transport: BlobTransport,
  patience: Patience,
  name: string,
  blob: BlobSource,
  signal: AbortSignal,
): Promise<void> {
  let offset = 0;
  let ask = blob.size >= ASK_FROM_BYTES;
  for (let failures = 0; ;) {
    try {
      if (ask) {
        const arrived = Math.min(await uploaded(transport, name, blob, signal), blob.size);
        if (arrived > offset) failures = Math.min(failures, 1);
        offset = arrived;
      }
      if (await upload(transport, name, blob, offset, signal)) return;
      throw differs(name);
    } catch (err) {
      if (err instanceof SourceFailed) throw err.cause;
      failures += 1;
      ask = true;
      // The hub has less than we thought: somebody else goes on with the same upload, or it was swept.
      if (!isSkeinError(err, "CONFLICT")) await passing(err, failures, patience, signal);
      else if (failures >= patience.tries) throw err;
    }
  }
}

async function uploaded(
  transport: BlobTransport,
  name: string,
  blob: BlobSource,
  signal: AbortSignal,
): Promise<number> {
  const headers = { "upload-sha256": blob.sha256 };
  const response = await transport.raw({
    method: "HEAD",
    path: `/v1/depot/uploads/${name}`,
    headers,
    signal,
  });
  response.resume();
  return countIn(response.headers["upload-offset"]) ?? 0;
}

/** @returns whether the blob is whole */
async function upload(
  transport: BlobTransport,
  name: string,
  blob: BlobSource,
  offset: number,
  signal: AbortSignal,
): Promise<boolean> {
  let fault: { readonly err: unknown } | undefined;
  // A source that fails ends the request in order, so that the hub keeps what came; only then is the failure told.
  const bytes = async function* (): AsyncGenerator<Uint8Array, void> {
    try {
      yield* exactly(blob.open(offset), blob.size - offset, name);
    } catch (err) {
      fault = { err };
    }
  };
  const response = await transport.raw({
    method: "PUT",
    path: blobPath(name),
    headers: {
      "content-type": "application/octet-stream",
      "upload-offset": String(offset),
      "upload-length": String(blob.size),
      "upload-sha256": blob.sha256,
    },
    body: Readable.from(bytes(), { objectMode: false }),
    // As long as bytes move; a hub that stands still ends the connection.
    timeoutMs: 2 ** 31 - 1,
    signal,
  });
  if (fault !== undefined) {
    response.resume();
    throw new SourceFailed("", { cause: fault.err });
  }
  const { done } = (await jsonOf(response)) as { done: boolean };
  return done;
}

/** The bytes could not be read here: no fault of the line, and no use in trying again. */
class SourceFailed extends Error {}

/** Fails where the source and what was announced differ. */
async function* exactly(
  bytes: AsyncIterable<Uint8Array>,
  size: number,
  name: string,
): AsyncGenerator<Uint8Array, void> {
  let left = size;
  for await (const piece of bytes) {
    left -= piece.length;
    if (left < 0) throw differs(name);
    yield piece;
  }
  if (left > 0) throw differs(name);
}

function differs(name: string): SkeinError {
  return new SkeinError("CHUNK_CORRUPT", `${name} is not as long as announced`, { data: { blob: name } });
}

/** Waits before the next try, or throws what will not pass by itself. */
async function passing(
  err: unknown,
  failures: number,
  patience: Patience,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  if (!isSkeinError(err, "HUB_UNREACHABLE", "TOO_MANY") || failures >= patience.tries) throw err;
  await patience.clock.sleep(retryDelayMs(failures, { ...BACKOFF, random: patience.random }), signal);
}

function blobPath(name: string): string {
  return `/v1/depot/blobs/${name}`;
}
