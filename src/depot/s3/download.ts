import { SkeinError } from "../../lib/errors/errors.ts";
import type { ByteRange } from "../seam/depot.ts";
import { MAX_REFUSAL_BYTES, readText, type S3Bucket } from "./bucket.ts";
import { LineFailed, type Answer } from "./exchange.ts";
import { PROGRESS_BYTES } from "../seam/pace.ts";
import { readRefusal } from "./refusal.ts";

export interface DownloadOptions {
  /** Large blobs are read by ranges of this size. */
  readonly partBytes: number;
  /** Ranges under way at once; each is held in memory until its turn. */
  readonly atOnce: number;
}

export const DOWNLOAD: DownloadOptions = { partBytes: 8 * 2 ** 20, atOnce: 3 };

/** A blob of more is read by several ranges at once; no pack has so much. */
const PARTS_BEFORE_PARALLEL = 4;

/**
 * An object's bytes, or a range of them. Goes on after a cut where it was, and only with the same content: what is
 * replaced meanwhile is never mixed. Large ones come by several ranges at once, in order.
 * @throws SkeinError BLOB_MISSING; CHUNK_CORRUPT when the object changed meanwhile; as S3Bucket.ask does
 */
export async function* download(
  bucket: S3Bucket,
  key: string,
  signal: AbortSignal,
  range: ByteRange | undefined,
  options: DownloadOptions,
): AsyncGenerator<Uint8Array, void> {
  const start = range?.start ?? 0;
  if (range?.end !== undefined && start >= range.end) return;
  const head: Head = {};
  const parallelFrom = options.partBytes * PARTS_BEFORE_PARALLEL;
  const first = { start, end: Math.min(range?.end ?? Infinity, start + parallelFrom) };
  yield* stream(bucket, key, signal, first, head);
  const end = Math.min(range?.end ?? Infinity, head.size ?? 0);
  yield* inParts(bucket, key, signal, { start: first.end, end }, head, options);
}

/** What the first answer said of the object. */
interface Head {
  size?: number;
  etag?: string;
}

/** Several ranges under way, handed on in order. */
async function* inParts(
  bucket: S3Bucket,
  key: string,
  signal: AbortSignal,
  { start, end }: Required<ByteRange>,
  head: Head,
  options: DownloadOptions,
): AsyncGenerator<Uint8Array, void> {
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const ahead: Promise<Uint8Array[]>[] = [];
  try {
    for (let at = start; at < end || ahead.length > 0;) {
      for (; at < end && ahead.length < options.atOnce; at += options.partBytes) {
        const part = { start: at, end: Math.min(at + options.partBytes, end) };
        const pieces = Array.fromAsync(stream(bucket, key, either, part, { ...head }));
        // Told when its turn comes.
        pieces.catch(() => undefined);
        ahead.push(pieces);
      }
      yield* (await ahead.shift()) ?? [];
    }
  } finally {
    stop.abort();
    await Promise.allSettled(ahead);
  }
}

/** One range, asked for again from where it was cut. */
async function* stream(
  bucket: S3Bucket,
  key: string,
  signal: AbortSignal,
  range: Required<ByteRange>,
  head: Head,
): AsyncGenerator<Uint8Array, void> {
  let at = range.start;
  let failedAt = at;
  for (let tries = 1; at < range.end;) {
    const answer = await ask(bucket, key, signal, { start: at, end: range.end }, head);
    try {
      for await (const piece of wanted(answer, at, Math.min(range.end, head.size ?? Infinity))) {
        at += piece.length;
        yield piece;
      }
      const end = Math.min(range.end, head.size ?? Infinity);
      if (at >= end) return;
      throw new LineFailed("the answer was shorter than it said");
    } catch (err) {
      if (at - failedAt >= PROGRESS_BYTES) tries = 1;
      failedAt = at;
      await bucket.pause(err, tries, { method: "GET", key, signal });
      tries += 1;
    } finally {
      answer.discard();
    }
  }
}

async function ask(
  bucket: S3Bucket,
  key: string,
  signal: AbortSignal,
  { start, end }: Required<ByteRange>,
  head: Head,
): Promise<Answer> {
  const last = Number.isFinite(end) ? String(end - 1) : "";
  const same = head.etag === undefined ? {} : { "if-match": `"${head.etag}"` };
  const headers = { range: `bytes=${start}-${last}`, ...same };
  const accept = [404, 412, 416];
  const answer = await bucket.ask({ method: "GET", key, headers, accept, signal }, (answer) => answer);
  try {
    if (answer.status === 404) throw await missing(bucket, key, answer);
    if (answer.status === 412) throw changed(key);
    learn(head, answer, key, start);
    return answer;
  } catch (err) {
    answer.discard();
    throw err;
  }
}

async function missing(bucket: S3Bucket, key: string, answer: Answer): Promise<SkeinError> {
  const { code } = readRefusal(404, answer.headers, await readText(answer, MAX_REFUSAL_BYTES));
  if (code !== "NoSuchBucket") {
    return new SkeinError("BLOB_MISSING", `${bucket.name} has no ${key}`, { data: { blob: key } });
  }
  return new SkeinError("BUCKET_NOT_FOUND", `there is no bucket for ${bucket.name}`);
}

function changed(key: string): SkeinError {
  return new SkeinError("CHUNK_CORRUPT", `${key} was replaced while it was read`, { data: { blob: key } });
}

/** Takes the object's size and content from an answer, and holds later ones to the first. */
function learn(head: Head, answer: Answer, key: string, start: number): void {
  const etag = answer.headers.etag?.replaceAll('"', "");
  const size = sizeIn(answer, start);
  if (differ(head.etag, etag) || differ(head.size, size)) throw changed(key);
  if (etag !== undefined) head.etag = etag;
  if (size !== undefined) head.size = size;
}

const differ = <T>(a: T | undefined, b: T | undefined): boolean =>
  a !== undefined && b !== undefined && a !== b;

/** The whole object's size, where the answer tells it. */
function sizeIn({ status, headers }: Answer, start: number): number | undefined {
  const total = /\/(\d+)$/.exec(headers["content-range"] ?? "")?.[1];
  const size = total ?? (status === 200 ? headers["content-length"] : undefined);
  if (size !== undefined) return Number(size);
  // Nothing lies there or beyond; not every server adds how much there is.
  return status === 416 ? start : undefined;
}

/** Of what comes, the bytes from `start` to `end`: some servers send all of it, whatever range was asked for. */
async function* wanted(answer: Answer, start: number, end: number): AsyncGenerator<Uint8Array, void> {
  if (answer.status === 416) return;
  let at = firstByteOf(answer);
  const announced = at + Number(answer.headers["content-length"] ?? Infinity);
  for await (const piece of answer.body) {
    const from = Math.max(0, start - at);
    const to = Math.min(piece.length, end - at);
    at += piece.length;
    if (from < to) yield piece.subarray(from, to);
    // Read to its own end, so that the connection can be used again, unless there is much more.
    if (at >= end && announced > end) return;
  }
}

/** @throws LineFailed when the server sends what was not asked for */
function firstByteOf(answer: Answer): number {
  if (answer.status !== 206) return 0;
  const first = /^bytes (\d+)-/.exec(answer.headers["content-range"] ?? "")?.[1];
  if (first === undefined) throw new LineFailed("a part came without saying which");
  return Number(first);
}
