/**
 * Where named documents live: small things that are read often, replaced whole and compared before they are written
 * (signed envelopes, heads, lists). A store is never trusted: whoever reads checks signatures. One conformance suite
 * runs against every kind.
 */
import { SkeinError } from "../../lib/errors/errors.ts";

/** Longest document, in bytes; longer ones are refused when written and when read. */
export const MAX_DOCUMENT_BYTES = 16 * 2 ** 20;

export interface StoredDocument {
  readonly bytes: Uint8Array;
  /** Names this content of this document; opaque, never empty. */
  readonly etag: string;
}

export interface DocumentEntry {
  readonly name: string;
  readonly sizeBytes: number;
  /** When it was last written, by the store's clock, in ms since the epoch. */
  readonly modifiedMs: number;
  /** Where the store tells it without reading the document. */
  readonly etag?: string;
}

export interface WriteCondition {
  /** Write only over exactly this content; null: only where there is no such document. Absent: whatever is there. */
  readonly if?: string | null;
}

/** Reads and writes documents. Safe for concurrent calls; a document is seen whole, as it was before or as it is. */
export interface DocumentStore {
  /** For messages: `dir:/srv/depot`, `s3://bucket/prefix`. */
  readonly name: string;
  /** False: the store cannot compare, and `if` is ignored. Whoever writes must be safe without. */
  readonly conditional: boolean;
  /**
   * @param etag what the caller has: the answer is "same" while that still stands
   * @returns undefined when there is none
   * @throws SkeinError DOC_TOO_BIG
   */
  read(
    name: string,
    etag: string | undefined,
    signal: AbortSignal,
  ): Promise<StoredDocument | "same" | undefined>;
  /**
   * @returns the etag of what was written
   * @throws SkeinError CONFLICT when the condition does not hold, DOC_TOO_BIG
   */
  write(name: string, bytes: Uint8Array, condition: WriteCondition, signal: AbortSignal): Promise<string>;
  /** Documents whose name begins with `prefix`, sorted by code unit. */
  list(prefix: string, signal: AbortSignal): AsyncIterable<DocumentEntry>;
  /** Idempotent. */
  delete(name: string, signal: AbortSignal): Promise<void>;
}

const MAX_NAME_BYTES = 400;
const MAX_PART_BYTES = 200;
// Case-sensitive and wider than a blob's name, because packages are named by people.
// oxlint-disable-next-line no-control-regex -- control characters are what is refused
const UNFIT = /[\u0000-\u001f\u007f\\]/;

/**
 * Holds document names to one rule for every kind of store: `/`-separated parts of at most 200 bytes, 400 in all, no
 * control character or backslash, no part empty or beginning with `.` (a store's own files do).
 * @throws SkeinError BAD_REQUEST
 */
export function checkDocumentName(name: string): void {
  const parts = name.split("/");
  const fits =
    name.isWellFormed() &&
    Buffer.byteLength(name) <= MAX_NAME_BYTES &&
    !UNFIT.test(name) &&
    parts.every((part) => part !== "" && !part.startsWith(".") && Buffer.byteLength(part) <= MAX_PART_BYTES);
  if (fits) return;
  throw new SkeinError("BAD_REQUEST", `${JSON.stringify(name.slice(0, 200))} is no name of a document`);
}

/** @throws SkeinError DOC_TOO_BIG */
export function checkDocumentSize(name: string, sizeBytes: number): void {
  if (sizeBytes <= MAX_DOCUMENT_BYTES) return;
  throw new SkeinError("DOC_TOO_BIG", `${name} has more than ${MAX_DOCUMENT_BYTES} bytes`, {
    data: { document: name },
  });
}

/** What a write whose condition does not hold ends with. */
export function documentConflict(store: string, name: string): SkeinError {
  return new SkeinError("CONFLICT", `${store}: ${name} was changed meanwhile`, { data: { document: name } });
}
