/**
 * Reading a bucket without credentials: a file lists an address for each object that lets whoever holds it read that
 * object, until it expires. To everything above it is a bucket whose server knows only these objects.
 */
import fs from "node:fs/promises";
import * as z from "zod";
import type { Clock } from "../../lib/time/clock.ts";
import { asSkeinError } from "../../lib/disk/files.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { S3Bucket, type BucketOptions } from "./bucket.ts";
import { ownCertificates } from "./certificates.ts";
import { openLine, PATIENCE, type Answer, type Line, type Outgoing } from "./exchange.ts";
import { pagesOf } from "./listing.ts";
import type { Environment } from "./settings.ts";
import { escapeXml } from "./xml.ts";

const bookSchema = z.strictObject({
  format: z.literal(1),
  /** RFC 3339; from then on no address works. */
  expires: z.iso.datetime(),
  objects: z
    .array(
      z.strictObject({
        key: z.string().min(1).max(1024),
        url: z.url({ protocol: /^https?$/ }),
        size: z.int().nonnegative(),
        modified: z.iso.datetime(),
        etag: z.string().max(200),
      }),
    )
    .min(1),
});
export type PresignedBook = Readonly<z.infer<typeof bookSchema>>;

/** S3's bound, in s. */
export const LONGEST_SEC = 7 * 86_400;
const NAME = "presigned";

/** Addresses for all that is in a bucket under its prefix, but for what collections keep there. */
export async function presignAll(
  bucket: S3Bucket,
  forSec: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<PresignedBook> {
  const expires = new Date(clock.now() + forSec * 1000).toISOString();
  const objects: PresignedBook["objects"] = [];
  for await (const page of pagesOf(bucket, "", signal)) {
    for (const { key, sizeBytes, modifiedMs, etag } of page) {
      if (/^(?:upkeep|retired)\/|^\./.test(key)) continue;
      const url = await bucket.presign(key, forSec);
      objects.push({ key, url, size: sizeBytes, modified: new Date(modifiedMs).toISOString(), etag });
    }
  }
  return { format: 1, expires, objects };
}

/** @throws SkeinError DEPOT_SETTINGS when the file is none, DEPOT_CREDENTIALS when it has expired, IO */
export async function openPresigned(
  file: string,
  env: Environment,
  options: BucketOptions & { readonly clock: Clock },
): Promise<S3Bucket> {
  const book = await readBook(file);
  const now = options.clock.now();
  if (Date.parse(book.expires) <= now) {
    const says = `the addresses in ${file} expired at ${book.expires}, and this machine's clock says ${new Date(now).toISOString()}`;
    throw new SkeinError("DEPOT_CREDENTIALS", says, {
      hint: "Have new ones made: skein release presign; or set the clock, where it is wrong.",
    });
  }
  const origin = new URL(book.objects[0]?.url ?? "").origin;
  const own = await ownCertificates(env);
  const line = openLine(origin.startsWith("https:"), own, options.patience ?? PATIENCE);
  const settings = {
    bucket: NAME,
    prefix: "",
    region: "us-east-1",
    regionGuessed: false,
    endpoint: new URL(origin),
    style: "path",
    anonymous: true,
    profile: undefined,
    profileGoesFirst: false,
  } as const;
  const none = new SkeinError("DEPOT_CREDENTIALS", "a list of addresses has no credentials");
  const credentials = {
    get: async () => await Promise.reject(none),
    refused: async () => await Promise.resolve(false),
  };
  return new S3Bucket(settings, credentials, throughBook(book, line), options);
}

async function readBook(file: string): Promise<PresignedBook> {
  let text: string;
  try {
    text = await fs.readFile(file, "utf8");
  } catch (err) {
    throw asSkeinError(err, file);
  }
  try {
    return bookSchema.parse(JSON.parse(text));
  } catch {
    // Not with the cause: the addresses in it are as good as keys.
    throw new SkeinError("DEPOT_SETTINGS", `${file} is no list of addresses`, {
      hint: "Make one: skein release presign --bucket s3://BUCKET/PREFIX.",
    });
  }
}

/** Sends what is asked of an object to its address, and answers for the server what it would say of the rest. */
function throughBook({ objects }: PresignedBook, line: Line): Line {
  const byKey = new Map(objects.map((object) => [object.key, object]));
  return {
    async exchange(request) {
      const path = decodeURIComponent(request.url.pathname);
      const key = path.slice(`/${NAME}/`.length);
      const object = byKey.get(key);
      if (request.method === "GET" && key === "") return listOf(objects, request.url.searchParams);
      if (request.method !== "GET" && request.method !== "HEAD") return said(403, "AccessDenied");
      if (object === undefined) return said(404, "NoSuchKey");
      if (request.method === "HEAD") return answer(200, "");
      return await line.exchange(readingFrom(object.url, request));
    },
    [Symbol.dispose]: () => line[Symbol.dispose](),
  };
}

const readingFrom = (url: string, request: Outgoing): Outgoing => ({ ...request, url: new URL(url) });

/** As many as S3 shows at a time. */
const PAGE_KEYS = 1000;

function listOf(objects: PresignedBook["objects"], query: URLSearchParams): Answer {
  const prefix = query.get("prefix") ?? "";
  const after = query.get("continuation-token") ?? query.get("start-after") ?? "";
  const found = objects
    .filter(({ key }) => key.startsWith(prefix) && key > after)
    .sort((a, b) => (a.key < b.key ? -1 : 1));
  const page = found.slice(0, PAGE_KEYS);
  const next =
    found.length > PAGE_KEYS
      ? `<IsTruncated>true</IsTruncated><NextContinuationToken>${escapeXml(page.at(-1)?.key ?? "")}</NextContinuationToken>`
      : "";
  const shown = page.map(({ key, size, modified, etag }) => {
    const fields = { Key: encodeURIComponent(key), Size: size, LastModified: modified, ETag: etag };
    const lines = Object.entries(fields).map(
      ([name, value]) => `<${name}>${escapeXml(String(value))}</${name}>`,
    );
    return `<Contents>${lines.join("")}</Contents>`;
  });
  return answer(200, `<ListBucketResult>${next}${shown.join("")}</ListBucketResult>`);
}

const said = (status: number, code: string): Answer => answer(status, `<Error><Code>${code}</Code></Error>`);

function answer(status: number, text: string): Answer {
  const body = async function* (): AsyncGenerator<Uint8Array> {
    yield await Promise.resolve(Buffer.from(text));
  };
  return { status, headers: {}, body: body(), discard: () => undefined };
}
