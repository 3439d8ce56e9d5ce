import { createHash, createHmac } from "node:crypto";

/**
 * AWS Signature Version 4, as S3 wants it: the path is encoded once, and the payload's hash is a header of its own.
 * Pure: time and keys come in, headers or an address go out.
 */
export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
  /** From then on they are refused, in ms since the epoch; absent: they last. */
  readonly expiresMs?: number | undefined;
}

export interface ToSign {
  readonly method: string;
  /** `https://bucket.s3.eu-west-1.amazonaws.com`, without a path. */
  readonly origin: string;
  /** Begins with `/`; not yet encoded. */
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  /** Of those that are signed, names in lower case; `host` is added. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface SignFor {
  readonly credentials: Credentials;
  readonly region: string;
  readonly nowMs: number;
}

export const EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const UNSIGNED = "UNSIGNED-PAYLOAD";
const ALGORITHM = "AWS4-HMAC-SHA256";

/** The headers to send besides the request's own. @param payload SHA-256 of the body, in hex */
export function signedHeaders(request: ToSign, payload: string, by: SignFor): Record<string, string> {
  const { credentials } = by;
  const date = amzDate(by.nowMs);
  const added: Record<string, string> = { "x-amz-date": date, "x-amz-content-sha256": payload };
  if (credentials.sessionToken !== undefined) added["x-amz-security-token"] = credentials.sessionToken;
  const headers = { ...request.headers, ...added, host: new URL(request.origin).host };
  const names = Object.keys(headers).sort().join(";");
  const signature = signatureOf({ ...request, headers }, payload, date, by);
  const authorization = `${ALGORITHM} Credential=${credentials.accessKeyId}/${scopeOf(date, by.region)}, SignedHeaders=${names}, Signature=${signature}`;
  return { ...added, authorization };
}

/** An address that does what the request says for whoever holds it, for `expiresSec` (at most 604,800). */
export function presignedUrl(request: ToSign, expiresSec: number, by: SignFor): string {
  const { credentials } = by;
  const date = amzDate(by.nowMs);
  const headers = { ...request.headers, host: new URL(request.origin).host };
  const query: Record<string, string> = {
    ...request.query,
    "X-Amz-Algorithm": ALGORITHM,
    "X-Amz-Credential": `${credentials.accessKeyId}/${scopeOf(date, by.region)}`,
    "X-Amz-Date": date,
    "X-Amz-Expires": String(expiresSec),
    "X-Amz-SignedHeaders": Object.keys(headers).sort().join(";"),
    ...(credentials.sessionToken === undefined ? {} : { "X-Amz-Security-Token": credentials.sessionToken }),
  };
  const signature = signatureOf({ ...request, query, headers }, UNSIGNED, date, by);
  return request.origin + pathAndQuery(request.path, { ...query, "X-Amz-Signature": signature });
}

/** As it stands in the request line. */
export function pathAndQuery(path: string, query: Readonly<Record<string, string>>): string {
  const text = canonicalQuery(query);
  return encodePath(path) + (text === "" ? "" : `?${text}`);
}

function signatureOf(request: ToSign, payload: string, date: string, by: SignFor): string {
  const names = Object.keys(request.headers).sort();
  const canonical = [
    request.method,
    encodePath(request.path),
    canonicalQuery(request.query),
    ...names.map((name) => `${name}:${(request.headers[name] ?? "").trim().replaceAll(/\s+/g, " ")}`),
    "",
    names.join(";"),
    payload,
  ].join("\n");
  const digest = createHash("sha256").update(canonical).digest("hex");
  const text = [ALGORITHM, date, scopeOf(date, by.region), digest].join("\n");
  const steps = [date.slice(0, 8), by.region, "s3", "aws4_request"];
  const first: string | Buffer = `AWS4${by.credentials.secretAccessKey}`;
  const key = steps.reduce<string | Buffer>((key, step) => hmac(key, step), first);
  return hmac(key, text).toString("hex");
}

const hmac = (key: string | Buffer, text: string): Buffer => createHmac("sha256", key).update(text).digest();

const scopeOf = (date: string, region: string): string => `${date.slice(0, 8)}/${region}/s3/aws4_request`;

/** `20261128T031500Z` */
function amzDate(ms: number): string {
  return new Date(ms).toISOString().replaceAll(/[-:]|\.\d{3}/g, "");
}

const encodePath = (path: string): string => path.split("/").map(encode).join("/");

function canonicalQuery(query: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(query).map(([name, value]) => [encode(name), encode(value)] as const);
  // By code unit of the encoded form, which is ASCII.
  pairs.sort(([a], [b]) => (a < b ? -1 : 1));
  return pairs.map(([name, value]) => `${name}=${value}`).join("&");
}

/** RFC 3986's unreserved characters stay as they are. */
function encode(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
