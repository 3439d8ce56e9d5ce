import { SkeinError } from "../../lib/errors/errors.ts";
import {
  checkDocumentName,
  checkDocumentSize,
  documentConflict,
  MAX_DOCUMENT_BYTES,
  type DocumentStore,
  type StoredDocument,
  type WriteCondition,
} from "../seam/documents.ts";
import { bytesPayload, MAX_REFUSAL_BYTES, readText, type S3Bucket } from "./bucket.ts";
import { LineFailed, type Answer } from "./exchange.ts";
import { pagesOf } from "./listing.ts";
import { errorOfRefusal, readRefusal } from "./refusal.ts";

export interface S3DocumentsOptions {
  /** Whether the server keeps conditions (`keepsConditions`). Default false: conditions are ignored. */
  readonly conditional?: boolean;
}

/** Documents as objects of a bucket. @param folder what keys begin with after its prefix; "" or ends with `/` */
export function s3Documents(
  bucket: S3Bucket,
  folder: string,
  { conditional = false }: S3DocumentsOptions = {},
): DocumentStore {
  const keyOf = (name: string): string => {
    checkDocumentName(name);
    return folder + name;
  };
  return {
    name: bucket.name,
    conditional,
    read: async (name, etag, signal) => await read(bucket, keyOf(name), name, etag, signal),
    async write(name, bytes, condition, signal) {
      const key = keyOf(name);
      checkDocumentSize(name, bytes.length);
      const outcome = await write(bucket, key, bytes, conditional ? condition : {}, signal);
      if (outcome.etag !== undefined) return outcome.etag;
      // A write that was cut may have been done all the same: then it is our own that stands in the way.
      const there = outcome.tries > 1 ? await read(bucket, key, name, undefined, signal) : undefined;
      if (there === undefined || there === "same" || Buffer.compare(there.bytes, bytes) !== 0) {
        throw documentConflict(bucket.name, name);
      }
      return there.etag;
    },
    async *list(prefix, signal) {
      for await (const page of pagesOf(bucket, folder + prefix, signal)) {
        for (const { key, sizeBytes, modifiedMs, etag } of page) {
          const name = key.slice(folder.length);
          if (isDocumentName(name)) yield { name, sizeBytes, modifiedMs, etag };
        }
      }
    },
    async delete(name, signal) {
      await bucket.tell({ method: "DELETE", key: keyOf(name), accept: [404], signal });
    },
  };
}

const PROBE = ".skein-probe";

/**
 * Whether the server keeps conditions of writes. Found out on an object of its own, since some servers refuse them
 * and others ignore them; costs two or three requests, so ask once. Needs the right to write.
 */
export async function keepsConditions(
  bucket: S3Bucket,
  folder: string,
  signal: AbortSignal,
): Promise<boolean> {
  const refuses = async (condition: WriteCondition): Promise<boolean | undefined> => {
    const { etag, refused } = await write(bucket, folder + PROBE, Buffer.from("skein\n"), condition, signal);
    return etag === undefined ? !refused : undefined;
  };
  const first = await refuses({ if: null });
  if (first === false) return false;
  // Stored now: the same again must fail, and so must what asks for a content that was never there.
  if (first === undefined && (await refuses({ if: null })) !== true) return false;
  return (await refuses({ if: "0".repeat(32) })) === true;
}

interface Written {
  /** Absent: the condition does not hold, or is not understood. */
  readonly etag?: string;
  /** The server does not do this at all. */
  readonly refused?: boolean;
  readonly tries: number;
}

async function write(
  bucket: S3Bucket,
  key: string,
  bytes: Uint8Array,
  condition: WriteCondition,
  signal: AbortSignal,
): Promise<Written> {
  const headers: Record<string, string> =
    condition.if === undefined
      ? {}
      : condition.if === null
        ? { "if-none-match": "*" }
        : { "if-match": `"${condition.if}"` };
  const isConditional = condition.if !== undefined;
  // 404: there is nothing that the condition could be about. 501: no conditions here.
  const accept = isConditional ? [404, 412, 501] : [];
  const body = bytesPayload(bytes);
  const {
    status,
    headers: answered,
    tries,
  } = await bucket.tell({ method: "PUT", key, headers, body, accept, signal });
  if (status === 501) return { refused: true, tries };
  if (status === 404 || status === 412) return { tries };
  return { etag: (answered.etag ?? "").replaceAll('"', ""), tries };
}

async function read(
  bucket: S3Bucket,
  key: string,
  name: string,
  etag: string | undefined,
  signal: AbortSignal,
): Promise<StoredDocument | "same" | undefined> {
  const headers: Record<string, string> = etag === undefined ? {} : { "if-none-match": `"${etag}"` };
  const request = { method: "GET", key, headers, accept: [304, 404], signal } as const;
  return await bucket.ask(request, async (answer) => {
    if (answer.status === 404) return await absent(bucket, key, answer);
    if (answer.status === 304) {
      await readText(answer, MAX_REFUSAL_BYTES);
      return "same" as const;
    }
    const bytes = await readWhole(answer, name);
    const own = (answer.headers.etag ?? "").replaceAll('"', "");
    return own === etag ? ("same" as const) : { bytes, etag: own };
  });
}

async function absent(bucket: S3Bucket, key: string, answer: Answer): Promise<undefined> {
  const refusal = readRefusal(404, answer.headers, await readText(answer, MAX_REFUSAL_BYTES));
  if (refusal.code === "NoSuchBucket") throw errorOfRefusal(refusal, `GET ${bucket.name}: ${key}`, 0);
}

/** @throws SkeinError DOC_TOO_BIG; LineFailed when fewer bytes came than were announced */
async function readWhole(answer: Answer, name: string): Promise<Buffer> {
  const announced = Number(answer.headers["content-length"] ?? NaN);
  if (announced > MAX_DOCUMENT_BYTES) {
    answer.discard();
    checkDocumentSize(name, announced);
  }
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of answer.body) {
    length += piece.length;
    checkDocumentSize(name, length);
    pieces.push(piece);
  }
  if (length < announced) throw new LineFailed("the answer was shorter than it said");
  return Buffer.concat(pieces, length);
}

function isDocumentName(name: string): boolean {
  try {
    checkDocumentName(name);
    return true;
  } catch (err) {
    if (err instanceof SkeinError) return false;
    throw err;
  }
}
