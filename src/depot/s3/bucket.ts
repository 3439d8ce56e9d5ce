/** A bucket over its HTTP API: every request signed, answered or refused with one clear error, tried again where that helps. */
import { systemClock, type Clock } from "../../lib/time/clock.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { digestOf } from "../../lib/text/ids.ts";
import { retryDelayMs } from "../../lib/time/retry.ts";
import { ownCertificates } from "./certificates.ts";
import { credentialChain, type CredentialSource } from "./credentials.ts";
import {
  LineFailed,
  openLine,
  PATIENCE,
  SourceFailed,
  type Answer,
  type Line,
  type Patience,
} from "./exchange.ts";
import { errorOfRefusal, isElsewhere, isPassing, readRefusal, type Refusal } from "./refusal.ts";
import { originOf, s3Settings, type Environment, type S3Settings } from "./settings.ts";
import {
  EMPTY_SHA256,
  pathAndQuery,
  presignedUrl,
  signedHeaders,
  type Credentials,
  type ToSign,
} from "./sign.ts";
import { parseXml, type Element } from "./xml.ts";

export interface Payload {
  readonly size: number;
  /** SHA-256 of all bytes, in hex: the server refuses others. */
  readonly sha256: string;
  /** Called anew for each try. */
  open(): Uint8Array | AsyncIterable<Uint8Array>;
}

export interface S3Request {
  readonly method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  /** Without the prefix; absent: the bucket itself. */
  readonly key?: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Payload;
  /** Statuses beside 2xx that are answers and no failures. */
  readonly accept?: readonly number[];
  readonly signal: AbortSignal;
}

export interface BucketOptions {
  readonly clock?: Clock;
  readonly random?: () => number;
  /** Tries of one request without success before it is given up. Default 5. */
  readonly tries?: number;
  readonly patience?: Patience;
  readonly credentials?: CredentialSource;
}

const BACKOFF = { baseMs: 100, maxMs: 5000 } as const;
/** Other credentials may do. */
const KEY_REFUSED: readonly string[] = [
  "ExpiredToken",
  "InvalidToken",
  "TokenRefreshRequired",
  "InvalidAccessKeyId",
  "SignatureDoesNotMatch",
];
/** Of an answer that says no, this much is read. */
export const MAX_REFUSAL_BYTES = 64 * 1024;
/** Longest XML that is read: a page of a list has about 400 bytes a key. */
const MAX_XML_BYTES = 8 * 2 ** 20;

/** Opens `s3://BUCKET/PREFIX` (settings.ts). Nothing is asked of the server yet. @throws SkeinError DEPOT_SETTINGS */
export async function openBucket(
  location: string,
  env: Environment,
  options: BucketOptions = {},
): Promise<S3Bucket> {
  const settings = await s3Settings(location, env);
  const secure = settings.endpoint?.protocol !== "http:";
  const line = openLine(secure, await ownCertificates(env), options.patience ?? PATIENCE);
  const clock = options.clock ?? systemClock;
  const credentials = options.credentials ?? credentialChain(settings, env, clock);
  return new S3Bucket(settings, credentials, line, options);
}

export class S3Bucket implements Disposable {
  /** `s3://bucket/prefix` */
  readonly name: string;
  readonly #settings: S3Settings;
  readonly #credentials: CredentialSource;
  readonly #line: Line;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #tries: number;
  #region: string;

  constructor(settings: S3Settings, credentials: CredentialSource, line: Line, options: BucketOptions) {
    this.name = `s3://${settings.bucket}/${settings.prefix}`.replace(/\/$/, "");
    this.#settings = settings;
    this.#credentials = credentials;
    this.#line = line;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
    this.#tries = options.tries ?? 5;
    this.#region = settings.region;
  }

  get prefix(): string {
    return this.#settings.prefix;
  }

  /** As `x-amz-copy-source` wants it. */
  copySource(key: string): string {
    return pathAndQuery(`/${this.#settings.bucket}/${this.prefix}${key}`, {});
  }

  /**
   * One request; what `read` makes of its answer. Tried again while failures may pass, reading included.
   * @throws SkeinError DEPOT_UNREACHABLE, DEPOT_DENIED, DEPOT_CREDENTIALS, DEPOT_SETTINGS, DEPOT_REFUSED,
   *   BUCKET_NOT_FOUND, BLOB_MISSING, CLOCK_SKEW, CHUNK_CORRUPT, DISK_FULL; what the body's source throws
   */
  async ask<T>(request: S3Request, read: (answer: Answer, tries: number) => T | Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        return await read(await this.#attempt(request), tries);
      } catch (err) {
        if (err instanceof SourceFailed) throw err.cause;
        await this.pause(err, tries, request);
      }
    }
  }

  /** The answer's XML. @throws SkeinError as `ask` does; also when the answer is an error in the guise of success */
  async askXml(request: S3Request): Promise<Element> {
    return await this.ask(request, async (answer) => {
      const text = await readText(answer, MAX_XML_BYTES);
      const root = parseXml(text);
      if (root?.name === "Error") throw this.#refused(readRefusal(500, answer.headers, text), request);
      if (root !== undefined) return root;
      throw new SkeinError(
        "DEPOT_REFUSED",
        `${this.#what(request)} was answered with something that is not S3's`,
      );
    });
  }

  /** Done, whatever the answer's body says. @returns its status and headers */
  async tell(request: S3Request): Promise<Pick<Answer, "status" | "headers"> & { readonly tries: number }> {
    return await this.ask(request, async (answer, tries) => {
      await readText(answer, MAX_REFUSAL_BYTES);
      return { status: answer.status, headers: answer.headers, tries };
    });
  }

  /** Waits before try `tries` + 1, or throws what will not pass by itself. */
  async pause(
    err: unknown,
    tries: number,
    request: Pick<S3Request, "method" | "key" | "signal">,
  ): Promise<void> {
    request.signal.throwIfAborted();
    const told =
      err instanceof LineFailed
        ? new SkeinError("DEPOT_UNREACHABLE", `${this.#what(request)}: ${this.#host}: ${err.message}`, {
            cause: err,
            data: { host: this.#host },
          })
        : err;
    if (err instanceof Again && tries < this.#tries) return;
    if (!isSkeinError(told, "DEPOT_UNREACHABLE") || tries >= this.#tries) {
      throw err instanceof Again ? err.cause : told;
    }
    await this.#clock.sleep(retryDelayMs(tries, { ...BACKOFF, random: this.#random }), request.signal);
  }

  /** An address under which anybody may read the object for `expiresSec`. */
  async presign(key: string, expiresSec: number): Promise<string> {
    const by = {
      credentials: await this.#credentials.get(),
      region: this.#region,
      nowMs: this.#clock.now(),
    };
    return presignedUrl(this.#toSign({ method: "GET", key }), expiresSec, by);
  }

  [Symbol.dispose](): void {
    this.#line[Symbol.dispose]();
  }

  // Private

  get #host(): string {
    return new URL(originOf(this.#settings, this.#region).origin).host;
  }

  #what({ method, key }: Pick<S3Request, "method" | "key">): string {
    return `${method} s3://${this.#settings.bucket}/${key === undefined ? "" : this.prefix + key}`;
  }

  #toSign({ method, key, query = {}, headers = {} }: Omit<S3Request, "signal">): ToSign {
    const { origin, base } = originOf(this.#settings, this.#region);
    const amz = Object.entries(headers).filter(([name]) => name.startsWith("x-amz-"));
    const path = key === undefined ? `${base}/` : `${base}/${this.prefix}${key}`;
    return { method, origin, path, query, headers: Object.fromEntries(amz) };
  }

  async #attempt(request: S3Request): Promise<Answer> {
    const { method, body, headers = {}, accept = [], signal } = request;
    const toSign = this.#toSign(request);
    const credentials = this.#settings.anonymous ? undefined : await this.#credentials.get();
    const length = body === undefined ? {} : { "content-length": String(body.size) };
    const answer = await this.#line.exchange({
      method,
      url: new URL(toSign.origin + pathAndQuery(toSign.path, toSign.query)),
      headers: { ...headers, ...length, ...this.#signature(toSign, credentials, body?.sha256) },
      body: body?.open(),
      signal,
    });
    const { status } = answer;
    if ((status >= 200 && status < 300) || accept.includes(status)) return answer;
    const refusal = readRefusal(status, answer.headers, await readText(answer, MAX_REFUSAL_BYTES));
    const error = this.#refused(refusal, request);
    throw (await this.#areRotated(refusal, credentials)) ? new Again("", { cause: error }) : error;
  }

  /** Were keys changed since they were read? Then there are others now. */
  async #areRotated({ code }: Refusal, used: Credentials | undefined): Promise<boolean> {
    return used !== undefined && KEY_REFUSED.includes(code) && (await this.#credentials.refused(used));
  }

  #signature(
    toSign: ToSign,
    credentials: Credentials | undefined,
    payload = EMPTY_SHA256,
  ): Record<string, string> {
    if (credentials === undefined) return {};
    return signedHeaders(toSign, payload, { credentials, region: this.#region, nowMs: this.#clock.now() });
  }

  #refused(refusal: Refusal, request: S3Request): Error {
    const error = errorOfRefusal(refusal, this.#what(request), this.#clock.now());
    const { region } = refusal;
    if (
      this.#settings.regionGuessed &&
      isElsewhere(refusal) &&
      region !== undefined &&
      region !== this.#region
    ) {
      this.#region = region;
      return new Again("", { cause: error });
    }
    if (isPassing(refusal) && error.code !== "DEPOT_UNREACHABLE") {
      return new SkeinError("DEPOT_UNREACHABLE", error.message, { data: error.data });
    }
    return error;
  }
}

/** What made the server refuse was mended: the next try may come at once. The cause is what to say if it fails too. */
class Again extends Error {}

/** The answer's text, as far as the bound. @throws LineFailed */
export async function readText(answer: Answer, maxBytes: number): Promise<string> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of answer.body) {
    pieces.push(piece);
    length += piece.length;
    if (length >= maxBytes) break;
  }
  return Buffer.concat(pieces, length).toString("utf8", 0, maxBytes);
}

export function bytesPayload(bytes: Uint8Array): Payload {
  return { size: bytes.length, sha256: digestOf(bytes), open: () => bytes };
}
