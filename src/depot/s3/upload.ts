import { createHash } from "node:crypto";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import { digestOf } from "../../lib/text/ids.ts";
import type { BlobSource } from "../seam/depot.ts";
import { bytesPayload, type S3Bucket } from "./bucket.ts";
import { SourceFailed } from "./exchange.ts";
import { leftOver, uploadsUnder, type LeftOver, type LeftParts, type Part } from "./left-over.ts";
import { escapeXml, textIn } from "./xml.ts";

export interface UploadOptions {
  /** Blobs up to this size go in one request. */
  readonly singleBytes: number;
  /** Larger ones go in parts of this size (S3: at least 5 MiB), or larger where there would be over 10,000. */
  readonly partBytes: number;
  /** Parts under way at once; each is held in memory. */
  readonly atOnce: number;
}

export const UPLOAD: UploadOptions = { singleBytes: 17 * 2 ** 20, partBytes: 8 * 2 ** 20, atOnce: 3 };

const MAX_PARTS = 10_000;
/** Uploads that somebody else ended under us are begun anew this often. */
const TRIES = 4;

/**
 * Stores an object whole or not at all. A large one goes in parts, several at once; parts that arrived before a cut
 * are found again by their digests and not sent twice, whoever sent them.
 * @throws SkeinError CHUNK_CORRUPT when the source is not what it announced; as S3Bucket.ask does
 */
export async function upload(
  bucket: S3Bucket,
  key: string,
  blob: BlobSource,
  signal: AbortSignal,
  options: UploadOptions,
): Promise<void> {
  if (blob.size <= options.singleBytes) {
    const body = { size: blob.size, sha256: blob.sha256, open: () => whole(blob, key) };
    await bucket.tell({ method: "PUT", key, body, signal });
    return;
  }
  for (let tries = 1; ; tries++) {
    try {
      // A second time nobody else's parts are taken up: whoever they belong to is at work on them.
      const found = tries === 1 ? await leftOver(bucket, key, signal) : undefined;
      await inParts(bucket, key, blob, signal, options, found);
      return;
    } catch (err) {
      if (err instanceof SourceFailed) throw err.cause;
      const word = isSkeinError(err) ? err.data["s3"] : undefined;
      if ((word !== "NoSuchUpload" && word !== "InvalidPart") || tries >= TRIES) throw err;
    }
  }
}

/** Ends uploads under `prefix` that were begun before `beforeMs` and never completed. @returns how many */
export async function sweepLeftOvers(
  bucket: S3Bucket,
  prefix: string,
  beforeMs: number,
  signal: AbortSignal,
): Promise<number> {
  let ended = 0;
  for await (const { key, id, begunMs } of uploadsUnder(bucket, prefix, signal)) {
    // One whose server does not say when it was begun may be under way.
    if (!(begunMs < beforeMs)) continue;
    await abortUpload(bucket, key, id, signal);
    ended += 1;
  }
  return ended;
}

/** All bytes; the last piece is held back until they proved to be what was announced. */
async function* whole(blob: BlobSource, key: string): AsyncGenerator<Uint8Array, void> {
  const sum = createHash("sha256");
  let at = 0;
  let held: Uint8Array | undefined;
  for await (const piece of fromSource(blob.open(0))) {
    at += piece.length;
    if (at > blob.size) throw differs(key);
    sum.update(piece);
    if (held !== undefined) yield held;
    held = piece;
  }
  if (at !== blob.size || sum.digest("hex") !== blob.sha256) throw differs(key);
  if (held !== undefined) yield held;
}

/** Marks failures of the source as such. */
async function* fromSource(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  try {
    yield* bytes;
  } catch (err) {
    throw new SourceFailed("", { cause: err });
  }
}

function differs(key: string): SourceFailed {
  const message = `${key} has other bytes than announced`;
  const cause = new SkeinError("CHUNK_CORRUPT", message, { data: { blob: key } });
  return new SourceFailed(message, { cause });
}

/** A part is held in memory, so what the bucket says of its size is believed only so far beyond our own. */
const LARGEST_LEFT = 4;

/** The parts to go on with: those left over, or none where their size will not do. */
export function goOnWith(least: number, found: LeftParts | undefined): LeftParts {
  const { partBytes = Number.NaN, etags = [] } = found ?? {};
  const fits = partBytes >= least && partBytes <= LARGEST_LEFT * least;
  return fits ? { partBytes, etags } : { partBytes: least, etags: [] };
}

async function inParts(
  bucket: S3Bucket,
  key: string,
  blob: BlobSource,
  signal: AbortSignal,
  options: UploadOptions,
  found: LeftOver | undefined,
): Promise<void> {
  const least = Math.max(options.partBytes, Math.ceil(blob.size / MAX_PARTS));
  const { partBytes, etags } = goOnWith(least, found);
  const id = found?.id ?? (await beginUpload(bucket, key, signal));
  const sum = createHash("sha256");
  const parts: Part[] = [];
  const sending = new AtOnce(options.atOnce);
  let number = 0;
  try {
    for await (const bytes of cut(inTwo(blob, etags.length * partBytes), partBytes)) {
      signal.throwIfAborted();
      const own = (number += 1);
      sum.update(bytes);
      const etag = etags[own - 1];
      if (etag === md5(bytes)) parts.push({ number: own, etag });
      else {
        await sending.begin(async () => {
          parts.push({ number: own, etag: await sendPart(bucket, key, id, own, bytes, signal) });
          faultPoint("s3.part");
        });
      }
    }
  } finally {
    // What is under way still counts when this is tried again.
    await sending.settled();
  }
  sending.throwIfFailed();
  if (sum.digest("hex") !== blob.sha256) {
    await abortUpload(bucket, key, id, signal);
    throw differs(key);
  }
  await complete(bucket, key, id, parts, signal);
  faultPoint("s3.completed");
}

const md5 = (bytes: Uint8Array): string => createHash("md5").update(bytes).digest("hex");

/** What arrived before is read again only to be compared; then the source is opened where it was cut. */
async function* inTwo(blob: BlobSource, have: number): AsyncGenerator<Uint8Array, void> {
  let at = 0;
  if (have > 0) {
    for await (const piece of fromSource(blob.open(0))) {
      yield piece.subarray(0, have - at);
      at += piece.length;
      if (at >= have) break;
    }
  }
  if (have < blob.size) yield* fromSource(blob.open(have));
}

/** The same bytes in pieces of `size`, the last one shorter; each is the taker's own. */
async function* cut(pieces: AsyncIterable<Uint8Array>, size: number): AsyncGenerator<Buffer, void> {
  let buffer = Buffer.allocUnsafeSlow(size);
  let filled = 0;
  for await (const piece of pieces) {
    for (let at = 0; at < piece.length;) {
      const some = piece.subarray(at, at + size - filled);
      buffer.set(some, filled);
      filled += some.length;
      at += some.length;
      if (filled < size) continue;
      yield buffer;
      buffer = Buffer.allocUnsafeSlow(size);
      filled = 0;
    }
  }
  if (filled > 0) yield buffer.subarray(0, filled);
}

/** A few things under way at once; the first failure ends the lot when all have come to rest. */
class AtOnce {
  readonly #limit: number;
  readonly #active = new Set<Promise<void>>();
  #failure: { readonly err: unknown } | undefined;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Waits for room. */
  async begin(work: () => Promise<void>): Promise<void> {
    while (this.#active.size >= this.#limit) await Promise.race(this.#active);
    this.throwIfFailed();
    const active = work()
      .catch((err: unknown) => {
        this.#failure ??= { err };
      })
      .finally(() => this.#active.delete(active));
    this.#active.add(active);
  }

  async settled(): Promise<void> {
    await Promise.all(this.#active);
  }

  throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure.err;
  }
}

async function beginUpload(bucket: S3Bucket, key: string, signal: AbortSignal): Promise<string> {
  const begun = await bucket.askXml({ method: "POST", key, query: { uploads: "" }, signal });
  return textIn(begun, "UploadId");
}

async function sendPart(
  bucket: S3Bucket,
  key: string,
  uploadId: string,
  number: number,
  bytes: Buffer,
  signal: AbortSignal,
): Promise<string> {
  const query = { partNumber: String(number), uploadId };
  const body = { size: bytes.length, sha256: digestOf(bytes), open: () => bytes };
  const { headers } = await bucket.tell({ method: "PUT", key, query, body, signal });
  return (headers.etag ?? "").replaceAll('"', "");
}

async function complete(
  bucket: S3Bucket,
  key: string,
  uploadId: string,
  parts: readonly Part[],
  signal: AbortSignal,
): Promise<void> {
  const lines = parts
    .toSorted((a, b) => a.number - b.number)
    .map(({ number, etag }) => {
      return `<Part><PartNumber>${number}</PartNumber><ETag>"${escapeXml(etag)}"</ETag></Part>`;
    });
  const xml = Buffer.from(`<CompleteMultipartUpload>${lines.join("")}</CompleteMultipartUpload>`);
  await bucket.askXml({ method: "POST", key, query: { uploadId }, body: bytesPayload(xml), signal });
}

async function abortUpload(
  bucket: S3Bucket,
  key: string,
  uploadId: string,
  signal: AbortSignal,
): Promise<void> {
  await bucket.tell({ method: "DELETE", key, query: { uploadId }, accept: [404], signal });
}
