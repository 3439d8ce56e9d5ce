/** Blobs over HTTP, on the raw streams: ranges on the way out, resumable uploads on the way in. */
import { once } from "node:events";
import type http from "node:http";
import { Readable } from "node:stream";
import { BLOB_TYPE } from "../../api/field-schemas.ts";
import { checkBlobName } from "../../depot/seam/blob-name.ts";
import type { ByteRange, DepotReader, ReceivingDepot } from "../../depot/seam/depot.ts";
import { countIn } from "../../lib/text/count-in.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { digestOf } from "../../lib/text/ids.ts";
import { sendJson } from "../http/http.ts";
import { MAX_INDEX_BYTES, treeOfIndex, type Admission, type Admissions, type Writer } from "./admission.ts";

/** So much is written before its going out is waited for, in bytes. */
const WRITTEN_AHEAD = 262_144;

/** How slowly a reader may take what it asked for, before it is cut: it goes on later, where it was. */
export interface Patience {
  /** In ms, for each piece, on top of what `bytesPerSec` allows. */
  readonly graceMs: number;
  readonly bytesPerSec: number;
}
/** Higher frees turns sooner; lower spares readers behind a very slow line the asking again. */
const PATIENCE: Patience = { graceMs: 30_000, bytesPerSec: 4096 };

export async function getBlob(
  depot: DepotReader,
  name: string,
  req: http.IncomingMessage,
  res: http.ServerResponse,
  signal: AbortSignal,
  patience: Patience = PATIENCE,
): Promise<void> {
  const range = rangeOf(req.headers.range);
  const pieces = depot.get(name, signal, range)[Symbol.asyncIterator]();
  // The first piece says whether there is such a blob; after that only a cut can tell of a failure.
  const first = await pieces.next();
  const second = first.done === true ? first : await pieces.next();
  // Bytes of no said type are taken for just that.
  const headers: Record<string, string> = {};
  if (range?.end !== undefined) headers["content-range"] = `bytes ${range.start}-${range.end - 1}/*`;
  // A small blob is one piece: then its length is known, and no chunks need framing.
  if (second.done === true) headers["content-length"] = String(first.done === true ? 0 : first.value.length);
  res.writeHead(range === undefined ? 200 : 206, headers);
  await sendPieces(withBegin([first, second], pieces), res, patience);
}

/** A small blob that is at hand. */
export function sendBytes(res: http.ServerResponse, bytes: Uint8Array): void {
  res.writeHead(200, { "content-type": BLOB_TYPE, "content-length": bytes.length }).end(bytes);
}

/** Who does not read what was asked for, or by the drop, is cut: it would hold a turn for ever. */
async function sendPieces(
  pieces: AsyncIterable<Uint8Array>,
  res: http.ServerResponse,
  patience: Patience,
): Promise<void> {
  for await (const piece of pieces) {
    if (res.destroyed) return;
    if (!res.write(piece) && res.writableLength >= WRITTEN_AHEAD) await taken(res, "drain", patience);
  }
  if (res.destroyed) return;
  res.end();
  await taken(res, "finish", patience);
}

/** Waits until what was written has gone out, or the reader has. */
async function taken(
  res: http.ServerResponse,
  event: "drain" | "finish",
  { graceMs, bytesPerSec }: Patience,
): Promise<void> {
  const timer = setTimeout(() => res.destroy(), graceMs + (res.writableLength / bytesPerSec) * 1000);
  const over = new AbortController();
  const { signal } = over;
  try {
    await Promise.race([once(res, event, { signal }), once(res, "close", { signal })]);
  } finally {
    over.abort();
    clearTimeout(timer);
  }
}

export async function uploadOffset(
  depot: ReceivingDepot,
  name: string,
  req: http.IncomingMessage,
  res: http.ServerResponse,
): Promise<void> {
  const sha256 = sha256Of(req);
  res.writeHead(200, { "upload-offset": await depot.uploaded(name, sha256) });
  res.end();
}

/** Where uploads go, and who sends them. */
export interface Intake {
  readonly depot: ReceivingDepot;
  readonly admissions: Admissions;
  readonly writer: Writer;
}

export async function putBlob(
  { depot, admissions, writer }: Intake,
  name: string,
  bytes: AsyncIterable<Uint8Array>,
  req: http.IncomingMessage,
  res: http.ServerResponse,
): Promise<void> {
  const size = numberOf(req, "upload-length");
  const offset = numberOf(req, "upload-offset");
  const sha256 = sha256Of(req);
  const tree = treeOfIndex(name);
  const isIndex = tree !== undefined;
  const { maxBytes, prove } = isIndex ? INDEX : admissions.of(name, { size, sha256 }, writer);
  if (size > maxBytes || offset > size) {
    throw new SkeinError("BAD_REQUEST", `an upload of ${size} bytes from ${offset} on`, {
      data: { size, offset },
    });
  }
  if (isIndex) await admissions.putIndex(tree, await wholeOf(bytes, { size, sha256, offset }), writer);
  const state = isIndex
    ? { offset: size, done: true }
    : await depot.append(name, { size, sha256, ...(prove && { prove }) }, offset, bytes);
  sendJson(res, 200, state, { "upload-offset": String(state.offset) });
}

const INDEX: Admission = { maxBytes: MAX_INDEX_BYTES };

/** An index is taken in one piece. @throws SkeinError CONFLICT, CHUNK_CORRUPT */
async function wholeOf(
  bytes: AsyncIterable<Uint8Array>,
  { size, sha256, offset }: { readonly size: number; readonly sha256: string; readonly offset: number },
): Promise<Buffer> {
  if (offset > 0) throw new SkeinError("CONFLICT", "an index is sent whole", { data: { offset: 0 } });
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of bytes) {
    length += piece.length;
    if (length > size) break;
    pieces.push(piece);
  }
  const whole = Buffer.concat(pieces);
  if (length === size && digestOf(whole) === sha256) return whole;
  throw new SkeinError("CHUNK_CORRUPT", "an index arrived with other bytes than announced");
}

/**
 * Stores small blobs that came with something else, what leads to others last.
 * @throws SkeinError BAD_REQUEST, NOT_AUTHORISED, PACK_CORRUPT, CHUNK_CORRUPT, TREE_CORRUPT
 */
export async function putSmall(
  { depot, admissions, writer }: Intake,
  blobs: readonly { readonly name: string; readonly bytes: Buffer }[],
): Promise<void> {
  const put = async ({ name, bytes }: (typeof blobs)[number]): Promise<void> => {
    checkBlobName(name);
    const tree = treeOfIndex(name);
    if (tree !== undefined) return await admissions.putIndex(tree, bytes, writer);
    const info = { size: bytes.length, sha256: digestOf(bytes) };
    const { prove } = admissions.of(name, info, writer);
    const upload = { ...info, inMemory: true, ...(prove && { prove }) };
    await depot.append(name, upload, 0, Readable.from([bytes]));
  };
  const leads = ({ name }: { readonly name: string }): boolean => name.startsWith("index/");
  await Promise.all(blobs.filter((blob) => !leads(blob)).map(put));
  await Promise.all(blobs.filter(leads).map(put));
}

async function* withBegin(
  begin: readonly IteratorResult<Uint8Array>[],
  rest: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array, void> {
  try {
    for (const known of begin) {
      if (known.done === true) return;
      yield known.value;
    }
    for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.();
  }
}

export async function hasBlobs(
  depot: ReceivingDepot,
  names: readonly string[],
  signal: AbortSignal,
): Promise<{ have: string[] }> {
  return { have: [...(await depot.has(names, signal))] };
}

/** A page of names: those after `after`, at most `limit`. */
export async function listBlobs(
  depot: ReceivingDepot,
  prefix: string,
  after: string,
  limit: number,
  signal: AbortSignal,
): Promise<{ names: string[]; next: string | null }> {
  const names: string[] = [];
  for await (const name of depot.list(prefix, signal)) {
    if (name <= after) continue;
    if (names.length === limit) return { names, next: names.at(-1) ?? null };
    names.push(name);
  }
  return { names, next: null };
}

export async function deleteBlob(
  depot: ReceivingDepot,
  name: string,
  signal: AbortSignal,
): Promise<Record<string, never>> {
  await depot.delete(name, signal);
  return {};
}

/** One range `bytes=START-` or `bytes=START-END`; anything else is refused rather than ignored. */
function rangeOf(header: string | undefined): ByteRange | undefined {
  if (header === undefined) return undefined;
  const match = /^bytes=(\d{1,15})-(\d{1,15})?$/.exec(header);
  if (match === null) throw new SkeinError("BAD_REQUEST", `the range '${header}' cannot be served`);
  const [, start, last] = match;
  const range = { start: Number(start), ...(last === undefined ? {} : { end: Number(last) + 1 }) };
  if (range.end !== undefined && range.end <= range.start)
    throw new SkeinError("BAD_REQUEST", "an empty range");
  return range;
}

function numberOf(req: http.IncomingMessage, name: string): number {
  const value = countIn(req.headers[name]);
  if (value !== undefined) return value;
  throw new SkeinError("BAD_REQUEST", `the header ${name} is missing or no number`);
}

function sha256Of(req: http.IncomingMessage): string {
  const value = req.headers["upload-sha256"];
  if (typeof value === "string" && /^[0-9a-f]{64}$/.test(value)) return value;
  throw new SkeinError("BAD_REQUEST", "the header upload-sha256 is missing or no SHA-256");
}
