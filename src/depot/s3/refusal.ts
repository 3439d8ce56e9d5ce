import { SkeinError, type ErrorCode } from "../../lib/errors/errors.ts";
import { parseXml, textIn } from "./xml.ts";

/** What a server said when it did not do what was asked. */
export interface Refusal {
  readonly status: number;
  /** S3's own word, such as `NoSuchKey`; "" when there was none. */
  readonly code: string;
  readonly message: string;
  /** The bucket's region, where the answer tells it. */
  readonly region: string | undefined;
  /** The server's clock, in ms since the epoch. */
  readonly serverTimeMs: number | undefined;
}

interface Meaning {
  readonly code: ErrorCode;
  readonly says: string;
}

const meaning = (code: ErrorCode, says: string): Meaning => ({ code, says });

const MEANINGS: Readonly<Record<string, Meaning>> = {
  NoSuchBucket: meaning("BUCKET_NOT_FOUND", "there is no such bucket"),
  NoSuchKey: meaning("BLOB_MISSING", "there is no such object"),
  InvalidAccessKeyId: meaning("DEPOT_DENIED", "the access key is not known there"),
  SignatureDoesNotMatch: meaning("DEPOT_DENIED", "the secret key is not the access key's"),
  ExpiredToken: meaning("DEPOT_DENIED", "the credentials have expired"),
  InvalidToken: meaning("DEPOT_DENIED", "the session token is not valid"),
  AccessDenied: meaning("DEPOT_DENIED", "the credentials lack the right for this"),
  RequestTimeTooSkewed: meaning("CLOCK_SKEW", "this machine's clock and the server's differ too much"),
  AuthorizationHeaderMalformed: meaning("DEPOT_SETTINGS", "the bucket is in another region"),
  PermanentRedirect: meaning("DEPOT_SETTINGS", "the bucket is in another region or at another endpoint"),
  IllegalLocationConstraintException: meaning("DEPOT_SETTINGS", "the bucket is in another region"),
  InvalidBucketName: meaning("DEPOT_SETTINGS", "that is no name of a bucket"),
  XAmzContentSHA256Mismatch: meaning("CHUNK_CORRUPT", "other bytes arrived than were announced"),
  BadDigest: meaning("CHUNK_CORRUPT", "other bytes arrived than were announced"),
  QuotaExceeded: meaning("DISK_FULL", "the bucket's quota is used up"),
};

const BY_STATUS: Readonly<Record<number, Meaning>> = {
  301: meaning("DEPOT_SETTINGS", "the bucket is in another region or at another endpoint"),
  307: meaning("DEPOT_SETTINGS", "the bucket is at another endpoint at present"),
  401: meaning("DEPOT_DENIED", "the credentials are refused"),
  403: meaning("DEPOT_DENIED", "the credentials are refused, or lack the right for this"),
  404: meaning("BLOB_MISSING", "there is no such object"),
  507: meaning("DISK_FULL", "the server has no room left"),
};

/** Failures that may pass by themselves. */
const PASSING_CODES = [
  "RequestTimeout",
  "SlowDown",
  "InternalError",
  "OperationAborted",
  "ConditionalRequestConflict",
];
const PASSING_STATUSES = [408, 429, 500, 502, 503, 504];
const MAX_MESSAGE = 300;
/** S3's bound, in ms. */
const MOST_SKEW_MS = 15 * 60_000;

export function readRefusal(
  status: number,
  headers: Readonly<Record<string, string | string[] | undefined>>,
  body: string,
): Refusal {
  const error = parseXml(body);
  const isError = error?.name === "Error";
  const header = headers["x-amz-bucket-region"];
  const region = typeof header === "string" ? header : isError ? textIn(error, "Region") : "";
  const date = Date.parse(typeof headers["date"] === "string" ? headers["date"] : "");
  return {
    status,
    code: isError ? textIn(error, "Code") : "",
    message: isError ? textIn(error, "Message").slice(0, MAX_MESSAGE) : "",
    region: /^[a-z0-9-]{1,40}$/.test(region) ? region : undefined,
    serverTimeMs: Number.isNaN(date) ? undefined : date,
  };
}

export function isPassing(refusal: Refusal): boolean {
  return PASSING_CODES.includes(refusal.code) || PASSING_STATUSES.includes(refusal.status);
}

/** Whether the region that a request was signed for is not the bucket's. */
export function isElsewhere(refusal: Refusal): boolean {
  const words = ["AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException"];
  return words.includes(refusal.code) || [301, 307].includes(refusal.status) || refusal.status === 400;
}

/** The answer to HEAD has no body that would say so. */
function isSkewed({ status, serverTimeMs = NaN }: Refusal, nowMs: number): boolean {
  return status === 403 && Math.abs(nowMs - serverTimeMs) > MOST_SKEW_MS;
}

/** One sentence with a code: what was asked of whom, and why it was not done. @param what such as `GET s3://b/k` */
export function errorOfRefusal(refusal: Refusal, what: string, nowMs: number): SkeinError {
  const { status, region, serverTimeMs } = refusal;
  const code = refusal.code === "" && isSkewed(refusal, nowMs) ? "RequestTimeTooSkewed" : refusal.code;
  const known = MEANINGS[code] ?? (code === "" || isPassing(refusal) ? BY_STATUS[status] : undefined);
  const answered = `${status} ${code}`.trim();
  const data = { status, ...(code === "" ? {} : { s3: code }) };
  if (known === undefined) return unknownRefusal(refusal, `${what} was answered ${answered}`, data);
  if (known.code === "DEPOT_SETTINGS" && region !== undefined) {
    return new SkeinError(known.code, `${what}: the bucket is in region ${region} (${answered})`, {
      hint: `Set AWS_REGION=${region}.`,
      data: { ...data, region },
    });
  }
  const plain = `${what}: ${known.says}`;
  if (known.code !== "CLOCK_SKEW" || serverTimeMs === undefined)
    return new SkeinError(known.code, `${plain} (${answered})`, { data });
  const [here, there] = [nowMs, serverTimeMs].map((ms) => new Date(ms).toISOString());
  return new SkeinError(known.code, `${plain}, ${here} and ${there} (${answered})`, {
    data: { ...data, skewMs: nowMs - serverTimeMs },
  });
}

function unknownRefusal(refusal: Refusal, says: string, data: Readonly<Record<string, unknown>>): SkeinError {
  const word = refusal.message === "" ? "" : ` (${refusal.message})`;
  return new SkeinError(isPassing(refusal) ? "DEPOT_UNREACHABLE" : "DEPOT_REFUSED", says + word, { data });
}
